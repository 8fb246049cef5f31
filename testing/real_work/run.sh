#!/usr/bin/env bash
# Real work on real layers: the same image and the same jobs on layers as EROFS files and on layers as directories. Each job
# prints what it saw; one difference fails. Downloads packages; takes some ten minutes.
#   testing/real_work/run.sh [HAVRE] [JOB…]      a job is a file in jobs/, without .sh
set -euo pipefail
havre=$(realpath "${1:-target/release/havre}"); shift || true
here=$(cd "$(dirname "$0")" && pwd)
jobs=("$@")
[ ${#jobs[@]} -gt 0 ] || mapfile -t jobs < <(basename -s .sh -a "$here"/jobs/*.sh)
. "$here/engines.sh"

# Both work on byte for byte the same image: built once, forgotten with the steps of the build (which are directories whatever
# the form), and loaded by both.
on auto image bootstrap debian:bookworm >/dev/null
on auto tag debian:bookworm base
on auto build -q -t work "$here" >/dev/null
on auto save -o "$work/work.tar" work
on auto rmi work base debian:bookworm >/dev/null
on auto builder prune -af >/dev/null
for form in "${forms[@]}"; do on "$form" load -q -i "$work/work.tar" >/dev/null; done
rm "$work/work.tar"
check_forms

failed=()
for job in "${jobs[@]}"; do
  for form in "${forms[@]}"; do
    started=$(date +%s)
    on "$form" run --rm -v "$here/jobs:/jobs:ro" work bash -e "/jobs/$job.sh" >"$work/$job.$form.out" 2>"$work/$job.$form.err" \
      || { echo "$job on $form: exit $?"; tail -n 5 "$work/$job.$form.err"; failed+=("$job"); }
    printf '%-10s %-12s %4s s  %s lines\n' "$job" "$form" $(( $(date +%s) - started )) "$(wc -l < "$work/$job.$form.out")"
  done
  diff -u0 "$work/$job.directories.out" "$work/$job.auto.out" >"$work/$job.diff" || { head -n 40 "$work/$job.diff"; failed+=("$job"); }
done
if [ ${#failed[@]} -gt 0 ]; then echo "DIFFERENT: ${failed[*]}" >&2; exit 1; fi
echo "no difference in ${#jobs[@]} jobs"
