#!/usr/bin/env bash
# Runs a command as root in a virtual machine with Debian's own kernel and cgroup version 2; see README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'USAGE'
usage: dev/vm/run.sh [options] [--] COMMAND [ARGUMENT...]

  --copy FILE[:PATH]   a file or directory for the machine, as /payload/PATH (its own name without :PATH); repeatable.
                       /payload and /payload/bin are in the PATH
  --disk FILE          keep /var/lib/havre, /var/tmp and /data in this image, made when missing (default: thrown away)
  --disk-size SIZE     of a new disk (default 8G; the file is sparse)
  --systemd            systemd is the first process and runs the command as a service; the disk keeps all that is written
  --kill-at TEXT       cut the power when a line of the output contains TEXT: status 137
  --timeout SECONDS    cut the power then: status 124 (default 1200)
  --memory MIB         default 3072
  --cpus N             default: as many as there are, at most 4
  --build-only         make the image and stop
Status: the command's; 125 when the machine ended without one, and 126 when it could not be made.
Environment: HAVRE_VM_CACHE (default ~/.cache/havre-vm), HAVRE_VM_ACCEL (kvm, tcg; default kvm where the
processor has it).
USAGE
}

die() { echo "vm: $*" >&2; exit 126; }

copies=() systemd= disk= disk_size=8G kill_at= timeout=1200 memory=3072 build_only=
cpus=$(nproc); [ "$cpus" -le 4 ] || cpus=4
while [ $# -gt 0 ]; do
  case $1 in
    --copy) copies+=("$2"); shift 2 ;;
    --systemd) systemd=" havre.systemd systemd.show_status=no"; shift ;;
    --disk) disk=$2; shift 2 ;;
    --disk-size) disk_size=$2; shift 2 ;;
    --kill-at) kill_at=$2; shift 2 ;;
    --timeout) timeout=$2; shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --build-only) build_only=1; shift ;;
    --help|-h) usage; exit 0 ;;
    --) shift; break ;;
    -*) usage >&2; die "unknown option $1" ;;
    *) break ;;
  esac
done
[ -n "$build_only" ] || [ $# -gt 0 ] || { usage >&2; exit 126; }
[ "$(id -u)" = 0 ] || die "must be root: it makes a root file system"

cache=${HAVRE_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/havre-vm}
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mkdir -p "$cache"
work=$(mktemp -d "$cache/run.XXXXXX")
qemu=
finish() {
  [ -z "$qemu" ] || kill -9 "$qemu" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$here/image.sh" "$cache" "$suite" || die "the image cannot be made"
[ -z "$build_only" ] || exit 0

# What the machine gets to run, on a disk of its own.
mkdir -p "$work/payload/bin"
for copy in ${copies[@]+"${copies[@]}"}; do
  from=${copy%%:*} to=${copy#*:}
  [ "$to" != "$copy" ] || to=$(basename "$from")
  [ -e "$from" ] || die "$from does not exist"
  mkdir -p "$(dirname "$work/payload/$to")"
  rm -rf "$work/payload/$to"
  # A link where the file system allows it: the image is made from it at once.
  cp -alL "$from" "$work/payload/$to" 2>/dev/null || cp -aL "$from" "$work/payload/$to"
done
printf '%q ' "$@" >"$work/payload/command"
size=$(($(du -smL "$work/payload" | cut -f1) * 5 / 4 + 16))
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/payload" "$work/payload.ext4" "${size}M" >/dev/null || die "the payload's image"
rm -rf "$work/payload"

cached=writeback
if [ -z "$disk" ]; then
  # Nothing of it is wanted afterwards: its flushes need not reach the disk here.
  disk=$work/disk.ext4 cached=unsafe
fi
if [ ! -e "$disk" ]; then
  truncate -s "$disk_size" "$disk"
  mke2fs -q -t ext4 -b 4096 -O verity -E lazy_itable_init=1 "$disk"
fi

accel=${HAVRE_VM_ACCEL:-}
if [ -z "$accel" ]; then
  accel=tcg
  # The device alone proves little: a hypervisor that only runs kernels made for it offers it too.
  if [ -w /dev/kvm ] && grep -Eqw 'vmx|svm' /proc/cpuinfo; then
    accel=kvm
  fi
fi
mkfifo "$work/console"
: >"$work/status"
drive() { echo "if=none,id=$1,format=raw,file=$2"; }
timeout --signal=KILL "$timeout" qemu-system-x86_64 \
  -M "q35,accel=$accel" -cpu max -smp "$cpus" -m "$memory" -nodefaults -display none -no-reboot \
  -kernel "$cache/vmlinuz" -initrd "$cache/initrd" \
  -append "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic$systemd" \
  -drive "$(drive root "$cache/root.ext4"),readonly=on" -device virtio-blk-pci,drive=root \
  -drive "$(drive payload "$work/payload.ext4"),readonly=on" -device virtio-blk-pci,drive=payload \
  -drive "$(drive disk "$disk"),cache=$cached" -device virtio-blk-pci,drive=disk \
  -netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net \
  -device virtio-rng-pci \
  -serial "file:$work/console" -serial "file:$work/status" </dev/null 2>"$work/qemu.log" &
qemu=$!

cut=
while IFS= read -r line; do
  line=${line%$'\r'}
  printf '%s\n' "$line"
  if [ -n "$kill_at" ] && [[ $line == *"$kill_at"* ]]; then
    # `timeout` passes the signal on to nobody when it dies of it itself: its child goes first.
    pkill -KILL -P "$qemu" || true
    cut=1
    break
  fi
done <"$work/console"
status=0
wait "$qemu" 2>/dev/null || status=$?
qemu=
[ -z "$cut" ] || { echo "vm: power cut at: $kill_at" >&2; exit 137; }
if [ "$status" = 137 ]; then
  echo "vm: not done after $timeout s: power cut" >&2
  exit 124
fi
code=$(tr -dc 0-9 <"$work/status")
if [ -z "$code" ]; then
  grep -v 'CPUID\|supported by requested' "$work/qemu.log" >&2 || true
  echo "vm: the machine ended without a status" >&2
  exit 125
fi
exit "$code"
