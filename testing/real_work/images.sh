#!/usr/bin/env bash
# Whole images on layers as EROFS files and on layers as directories: pulled by both, and what the kernel shows of them exported
# and compared, every name, attribute and byte.
#   testing/real_work/images.sh HAVRE REFERENCE…
set -euo pipefail
havre=$(realpath "${1:?the program}"); shift
[ $# -gt 0 ] || { echo "which images?" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
. "$here/engines.sh"

failed=()
for reference in "$@"; do
  for form in "${forms[@]}"; do
    on "$form" pull -q "$reference" >/dev/null
    on "$form" create --name compared "$reference" /nothing >/dev/null
    on "$form" export compared | python3 "$here/listing.py" > "$work/$form.list"
    on "$form" rm -f compared >/dev/null
  done
  echo "$reference: $(tail -n 1 "$work/auto.list")"
  diff -u0 "$work/directories.list" "$work/auto.list" > "$work/diff" || { head -n 20 "$work/diff"; failed+=("$reference"); }
done
check_forms
if [ ${#failed[@]} -gt 0 ]; then echo "DIFFERENT: ${failed[*]}" >&2; exit 1; fi
echo "no difference in $# images"
