#!/usr/bin/env bash
# Builds the image `havre` with the program itself: image/build.sh PROGRAM STATIC-PROGRAM [NAME].
set -euo pipefail
cd "$(dirname "$0")"
program=$(realpath "$1") static=$(realpath "$2") name=${3:-havre}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
if readelf --program-headers "$static" | grep -q INTERP; then
  echo "$static needs libraries: it is not static" >&2
  exit 1
fi
mkdir -p "$context"/root/usr/local/bin "$context"/root/etc/{ssl/certs,docker/registry}
install -m 755 "$static" "$context/root/usr/local/bin/havre"
strip --strip-debug "$context/root/usr/local/bin/havre"
# Under this name it writes the file of users that a registry reads.
ln -s havre "$context/root/usr/local/bin/htpasswd"
cp /etc/ssl/certs/ca-certificates.crt "$context/root/etc/ssl/certs/"
cp config.yml "$context/root/etc/docker/registry/"
cp Dockerfile "$context"
"$program" build -q -t "$name" "$context"
"$program" images "$name"
