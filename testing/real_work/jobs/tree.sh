# Every entry of the image: type, mode, owner, links, time, target, content. What the start of a container makes is left out:
# /.dockerenv, and the time of /etc, where it makes a file.
cd /
find . -mindepth 1 -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./jobs -o -path ./etc/hosts -o -path ./etc/hostname \
  -o -path ./etc/resolv.conf -o -path ./.dockerenv \) -prune -o -printf '%P %y %m %U:%G %n %T@ %l\n' | LC_ALL=C sort > /tmp/list
find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o -path ./jobs -o -path ./etc/hosts \
  -o -path ./etc/hostname -o -path ./etc/resolv.conf \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > /tmp/sums
grep -v '^tmp' /tmp/list | sed -E 's/^(etc d .*) [0-9.]+ $/\1/'
sha256sum < /tmp/sums
getcap -r /odd
python3 -c 'import os; print(sorted((n, os.getxattr("/odd/file", n)) for n in os.listxattr("/odd/file")))'
find /odd -mindepth 1 -printf '%P %y %m %U:%G %n %T@ %l\n' | LC_ALL=C sort
stat -c '%s %n' /odd/sparse /odd/file /odd/capable
