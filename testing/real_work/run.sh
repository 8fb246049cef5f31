#!/usr/bin/env bash
# Real work on real layers: the same image and the same jobs on layers as EROFS files and on layers as directories. Each job
# prints what it saw; one difference fails. Downloads packages; takes some ten minutes.
#   testing/real_work/run.sh [HAVRE] [JOB…]      a job is a file in jobs/, without .sh
set -euo pipefail
havre=$(realpath "${1:-target/release/havre}"); shift || true
here=$(cd "$(dirname "$0")" && pwd)
jobs=("$@")
[ ${#jobs[@]} -gt 0 ] || mapfile -t jobs < <(basename -s .sh -a "$here"/jobs/*.sh)
work=$(mktemp -d /var/tmp/havre-real-work.XXXXXX)
export DOCKER_CONFIG=$work/client
mkdir -p "$DOCKER_CONFIG"
forms=(auto directories)
pids=()

cleanup() {
  status=$?
  set +e
  for form in "${forms[@]}"; do
    on "$form" ps -aq 2>/dev/null | xargs -r "$havre" -H "unix://$work/$form.sock" rm -f >/dev/null
  done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
  findmnt -rno TARGET | grep -F "$work/" | sort -r | xargs -r umount -l
  [ $status -eq 0 ] && rm -rf "$work" || echo "real work: reports and logs are in $work" >&2
  exit $status
}
trap cleanup EXIT
on() { local form=$1; shift; "$havre" -H "unix://$work/$form.sock" "$@"; }

for form in "${forms[@]}"; do
  cat > "$work/$form.toml" <<CONFIG
[storage]
layers = "$form"
[network]
bridge = "havre-rw-${form:0:4}"
table = "havre-rw-${form:0:4}"
CONFIG
  "$havre" daemon --root "$work/$form" --socket "$work/$form.sock" --state "$work/$form.run" --config "$work/$form.toml" \
    >"$work/$form.log" 2>&1 &
  pids+=($!)
done
for form in "${forms[@]}"; do
  for _ in $(seq 200); do on "$form" version >/dev/null 2>&1 && break; sleep 0.05; done
  echo "$form: $(on "$form" info | grep -i 'layer format' | tr -s ' ' | paste -sd';')"
done

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
for form in "${forms[@]}"; do
  layers=$(find "$work/$form/layers" -mindepth 1 -maxdepth 1 | wc -l)
  files=$(find "$work/$form/layers" -mindepth 2 -maxdepth 2 -name layer.erofs | wc -l)
  echo "$form: $layers layers, $files of them EROFS files"
  case $form in directories) expected=0 ;; *) expected=$layers ;; esac
  [ "$layers" -gt 0 ] && [ "$files" -eq "$expected" ] || { echo "not what was to be compared" >&2; exit 1; }
done

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
