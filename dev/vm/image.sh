#!/usr/bin/env bash
# Makes the machine of run.sh in a cache directory, unless what is there was made from the same: kernel, a first file
# system for it with the few modules that find the disks, and Debian's minimum as an ext4 image.
# usage: image.sh DIRECTORY SUITE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$1 suite=$2

kernel=linux-image-cloud-amd64
packages=systemd-sysv,dbus,kmod,runc,crun,tini,libseccomp2,ca-certificates,nftables,iptables,iproute2,busybox-static,procps,e2fsprogs,erofs-utils,xz-utils,zstd,curl
boot_modules="virtio_pci virtio_blk overlay"

stamp=$(cat "$here/image.sh" "$here/init" <(echo "$suite") | sha256sum)
[ "$(cat "$cache/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

"$here/../packages.sh" qemu-system-x86 mmdebstrap e2fsprogs busybox-static procps
echo "vm: making the image in $cache"
work=$(mktemp -d "$cache/image.XXXXXX")
trap 'rm -rf "$work"' EXIT
rm -f "$cache/stamp"

mmdebstrap --quiet --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' "$suite" "$work/root"

# The kernel without its installation: no boot loader, no initramfs of the distribution's.
real=$(apt-cache depends "$kernel" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$real")
dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
version=$(basename "$work"/kernel/lib/modules/*)
mv "$work/kernel/lib/modules" "$work/root/usr/lib/modules"
chroot "$work/root" depmod "$version"

mkdir -p "$work/initrd/bin" "$work/initrd/modules"
cp /bin/busybox "$work/initrd/bin/busybox"
cp "$here/init" "$work/initrd/init"
for module in $boot_modules; do
  chroot "$work/root" modprobe -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  cp "$work/root/$file" "$work/initrd/modules/"
  basename "$file" >>"$work/initrd/modules/order"
done
(cd "$work/initrd" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd.gz"

install -m 755 "$here/init" "$work/root/sbin/havre-vm-init"
mkdir -p "$work/root/payload" "$work/root/data"
# Under systemd the command is a service.
cat >"$work/root/etc/systemd/system/command.service" <<'UNIT'
[Unit]
Description=The command of this machine
After=multi-user.target
[Service]
Type=oneshot
Environment=PATH=/payload/bin:/payload:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
WorkingDirectory=/root
ExecStart=-/bin/bash -c 'bash /payload/command >/dev/ttyS0 2>&1; echo $? >/dev/ttyS1'
ExecStart=/bin/systemctl poweroff --no-block
UNIT
mkdir -p "$work/root/etc/systemd/system/default.target.wants"
ln -s ../command.service "$work/root/etc/systemd/system/default.target.wants/command.service"
ln -sf /dev/null "$work/root/etc/systemd/system/serial-getty@ttyS0.service"
rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
echo havre-vm >"$work/root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 havre-vm\n' >"$work/root/etc/hosts"
echo 'nameserver 10.0.2.3' >"$work/root/etc/resolv.conf"
size=$(($(du -sm "$work/root" | cut -f1) * 5 / 4 + 32))
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work/root" "$work/root.ext4" "${size}M" >/dev/null

mv "$work"/kernel/boot/vmlinuz-* "$cache/vmlinuz"
mv "$work/initrd.gz" "$cache/initrd"
mv "$work/root.ext4" "$cache/root.ext4"
echo "$stamp" >"$cache/stamp"
echo "vm: Debian $suite, Linux $version"
