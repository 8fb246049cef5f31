#!/usr/bin/env bash
# A machine with containers loses its power and boots again: what was acknowledged is there, restart policies hold.
# usage: dev/vm/power-cut.sh [BINARY]      (default: target/debug/havre)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${1:-${CARGO_TARGET_DIR:-$here/../../target}/debug/havre}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/daemon" <<'GUEST'
havre daemon --log-level info >/run/daemon.log 2>&1 &
for _ in $(seq 600); do havre version >/dev/null 2>&1 && break; sleep 0.1; done
expect() {
  if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "FAILED: $1: '$2' instead of '$3'"; failed=1; fi
}
failed=0
GUEST
cat >"$work/before" <<'GUEST'
. daemon
mkdir -p /tmp/root/bin
cp /bin/busybox /tmp/root/bin/sh
tar -C /tmp/root -c . | havre import - app >/dev/null
havre run -d --name always --restart always -v data:/data app sh -c 'echo start >>/data/starts; sleep 1000' >/dev/null
havre run -d --name stopped --restart unless-stopped app sh -c 'sleep 1000' >/dev/null
havre stop -t 0 stopped >/dev/null
havre run -d --name never app sh -c 'sleep 1000' >/dev/null
havre run --name ended app sh -c 'echo said; exit 7' || true
expect "three run or are stopped" "$(havre ps -q | wc -l)" 2
echo THE POWER FAILS
havre run --rm app sh -c 'sleep 1000'
GUEST
cat >"$work/after" <<'GUEST'
. daemon
state() { havre inspect -f "{{.State.Status}} {{.State.ExitCode}}" "$1" 2>&1; }
# The daemon answers before the last container runs again.
for _ in $(seq 600); do [ "$(state always)" != "running 0" ] || break; sleep 0.1; done
expect "a container that always restarts runs" "$(state always)" "running 0"
expect "and ran twice on its volume" "$(grep -c start /var/lib/havre/volumes/data/_data/starts)" 2
expect "a stopped one stays as it was" "$(state stopped | cut -d' ' -f1)" exited
expect "one without a policy has ended" "$(state never | cut -d' ' -f1)" exited
expect "the status of an ended one is known" "$(state ended)" "exited 7"
expect "its output, too" "$(havre logs ended)" said
expect "the image runs" "$(havre run --rm app sh -c 'echo runs')" runs
[ $failed = 0 ] || cat /run/daemon.log
havre rm -f always stopped never ended >/dev/null
expect "no cgroup is left" "$(find /sys/fs/cgroup/havre -mindepth 1 -type d | wc -l)" 0
exit $failed
GUEST
run() {
  "$here/run.sh" --disk "$work/disk" --disk-size 2G --timeout 600 --copy "$binary:bin/havre" --copy "$work/daemon:bin/daemon" \
    --copy "$work/before:before" --copy "$work/after:after" "$@"
}
status=0
run --kill-at 'THE POWER FAILS' -- bash /payload/before || status=$?
[ "$status" = 137 ] || exit 1
run -- bash /payload/after
