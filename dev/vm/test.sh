#!/usr/bin/env bash
# Builds the binary and its tests and runs them in the machine of run.sh.
# usage: dev/vm/test.sh [SUITE[:FILTER]]...    a suite is a test program (containers, daemon, run, …), a filter a part of
#                                              its tests' names. Options of run.sh in VM_OPTIONS.
# Status: 0 when every test passed and nothing was left behind, 1 otherwise; 124 to 126 as run.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
CARGO=${CARGO:-cargo}

suites=("$@")
# What depends on the kernel and its cgroups; the rest of the tests says the same everywhere.
[ $# -gt 0 ] || suites=(havre_sys havre_runtime exchange:verified cgroups confinement exec run bridge user containers daemon network networks upkeep verity)

$CARGO build --locked -p havre
# Each line about a test program has its path; the name is what stands before the hash.
programs=$($CARGO test --locked --no-run -p havre-sys -p havre-runtime -p havre-network -p havre-store -p havre-testing \
  --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')

copies=(--copy "$target/debug/havre:target/debug/havre" --copy "$here/suites:bin/suites")
shim=$(grep '/examples/runtime_shim$' <<<"$programs" || true)
[ -z "$shim" ] || copies+=(--copy "$shim:target/debug/examples/runtime_shim")
for suite in "${suites[@]}"; do
  name=${suite%%:*}
  program=$(grep -E "/deps/$name-[0-9a-f]+$" <<<"$programs" | head -n 1) || { echo "no test program $name" >&2; exit 126; }
  copies+=(--copy "$program:target/debug/deps/$name")
done
# shellcheck disable=SC2086
exec "$here/run.sh" "${copies[@]}" --timeout 3000 ${VM_OPTIONS:-} -- suites "${suites[@]}"
