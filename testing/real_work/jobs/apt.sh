# A package manager on top of image layers: its own check of every file it ever installed, then an upgrade of the set.
dpkg --verify
apt-get install -y --no-install-recommends cowsay make >/dev/null
dpkg --verify
apt-get purge -y make >/dev/null && apt-get autoremove -y >/dev/null
dpkg --verify
dpkg-query -W | sha256sum
/usr/games/cowsay done
