#!/usr/bin/env bash
# The engine as a service of a real systemd: installed, started by its socket, restarted, killed, given a new binary, stopped,
# and back after a reboot. Containers go on through all but the last.
# usage: dev/vm/systemd.sh [BINARY]      (default: target/debug/havre)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${1:-${CARGO_TARGET_DIR:-$here/../../target}/debug/havre}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/common" <<'GUEST'
failed=0
expect() {
  if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "FAILED: $1: '$2' instead of '$3'"; failed=1; fi
}
finish() {
  [ $failed = 0 ] || journalctl --no-pager -q -u havre.service -u havre.socket -n 60
  exit $failed
}
state() { havre inspect -f "{{.State.Status}} {{.State.ExitCode}}" "$1" 2>&1; }
pid() { havre inspect -f "{{.State.Pid}}" "$1"; }
active() { systemctl is-active "$1"; }
ping() { curl -s --max-time 60 --unix-socket /run/havre/havre.sock http://engine/_ping; }
starts() { grep -c start /var/lib/havre/volumes/data/_data/starts; }
daemon() { systemctl show -P MainPID havre.service; }
# More than three starts in a minute are too many, unless somebody says that they are meant.
anew() { systemctl reset-failed havre.service havre.socket; }
until_it_is() { for _ in $(seq 600); do [ "$($1 "$2")" != "$3" ] || return 0; sleep 0.1; done; }
GUEST
cat >"$work/before" <<'GUEST'
. common
expect "systemd is the first process" "$(cat /proc/1/comm)" systemd
install -m 755 /payload/bin/havre /usr/local/bin/havre
hash -r
/usr/local/bin/havre daemon --install || failed=1
expect "the service runs" "$(active havre.service)" active
expect "and comes with the next boot" "$(systemctl is-enabled havre.service havre.socket | sort -u)" enabled
expect "systemd finds nothing wrong with the units" "$(systemd-analyze verify /etc/systemd/system/havre.* 2>&1)" ""

systemctl stop havre.service
expect "it stops" "$(active havre.service)" inactive
expect "its socket stays" "$(active havre.socket)" active
expect "who asks there is answered" "$(ping)" OK
expect "by the service, which was started" "$(active havre.service)" active

mkdir -p /tmp/root/bin
cp /bin/busybox /tmp/root/bin/sh
tar -C /tmp/root -c . | havre import - app >/dev/null
# They end when they are told to: nobody else tells them when the machine goes down.
lives='trap "exit 0" TERM; sleep 1000 & wait'
havre run -d --name always --restart always -v data:/data app sh -c "echo start >>/data/starts; $lives" >/dev/null
havre run -d --name stopped --restart unless-stopped app sh -c "$lives" >/dev/null
havre stop -t 0 stopped >/dev/null
havre run -d --name never app sh -c "$lives" >/dev/null
first=$(pid always) other=$(pid never)
goes_on() {
  expect "a container goes on $1" "$(state always) $(pid always) $(starts)" "running 0 $first 1"
  expect "and one without a policy" "$(state never) $(pid never)" "running 0 $other"
}

anew
before=$(daemon)
systemctl restart havre.service
expect "a restart is another daemon" "$([ "$(daemon)" != "$before" ] && echo another)" another
goes_on "through a restart"

anew
before=$(daemon)
systemctl kill --kill-whom=main -s KILL havre.service
for _ in $(seq 600); do
  now=$(daemon)
  [ "$now" = 0 ] || [ "$now" = "$before" ] || [ "$(active havre.service)" != active ] || break
  sleep 0.1
done
expect "systemd starts one that was killed" "$(ping)" OK
goes_on "when the daemon is killed"

before=$(daemon)
cp /usr/local/bin/havre /usr/local/bin/havre.new
mv /usr/local/bin/havre.new /usr/local/bin/havre
systemctl reload havre.service
since() { journalctl -q -u havre.service -o cat --no-pager | sed -n '/handing over/,$p' | grep -c "$1"; }
until_it_is since listening 1
expect "it hands over" "$(since listening)" 1
expect "who asks meanwhile is answered" "$(ping)" OK
expect "a new binary takes over in the same process" "$(daemon)" "$before"
expect "the service is what it was" "$(active havre.service)" active
goes_on "with the new binary"

systemctl stop havre.socket havre.service
expect "all is stopped" "$(active havre.service) $(active havre.socket)" "inactive inactive"
expect "containers are not" "$(ls -d /proc/$first /proc/$other 2>&1)" "/proc/$first
/proc/$other"
anew
systemctl start havre.socket
expect "the socket alone is enough" "$(ping)" OK
goes_on "without a daemon"
expect "and has a cgroup of its own" "$(cut -d: -f3 /proc/$first/cgroup | grep -c havre.service)" 0
finish
GUEST
cat >"$work/after" <<'GUEST'
. common
until_it_is active havre.service active
expect "the service came with the boot" "$(active havre.service)" active
until_it_is state always "running 0"
expect "a container that always restarts runs" "$(state always)" "running 0"
expect "and ran twice on its volume" "$(starts)" 2
expect "a stopped one stays as it was" "$(state stopped | cut -d' ' -f1)" exited
expect "one without a policy has ended" "$(state never | cut -d' ' -f1)" exited
left=$(pid always)
/usr/local/bin/havre daemon --uninstall || failed=1
expect "no unit is left" "$(systemctl list-unit-files 'havre*' --no-legend)" ""
expect "what runs goes on" "$(cat /proc/$left/comm)" sh
finish
GUEST
run() {
  "$here/run.sh" --systemd --disk "$work/disk" --disk-size 2G --timeout 900 --copy "$binary:bin/havre" \
    --copy "$work/common:bin/common" --copy "$work/before:before" --copy "$work/after:after" -- bash "$@"
}
run /payload/before
run /payload/after
