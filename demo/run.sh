#!/usr/bin/env bash
# The main job, end to end, on an engine of its own: a base image, an application built on it, run, tagged, pushed to a
# registry, removed, pulled back and run again. Everything it makes is gone when it ends.
set -euo pipefail
havre=$(realpath "${1:-target/release/havre}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /var/tmp/havre-demo.XXXXXX)
export DOCKER_HOST="unix://$work/havre.sock" DOCKER_CONFIG="$work/client"
mkdir -p "$DOCKER_CONFIG" "$work/bin"
ln -s "$havre" "$work/bin/havre"
ln -s "$havre" "$work/bin/docker"
export PATH="$work/bin:$PATH"

bold() { [ -t 1 ] && printf '\n\033[1m%s\033[0m\n' "$*" || printf '\n%s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }
timings=()
# step TITLE COMMAND…: shows the command as a person would type it, runs it, and keeps its time and its output.
step() {
  local title=$1 started ended; shift
  bold "\$ $*"
  started=$(date +%s%N)
  "$@" | tee "$work/output" || fail "\`$*\` failed with $?"
  ended=$(date +%s%N)
  timings+=("$(printf '%-52s %8.2f s' "$title" "$(( (ended - started) / 10000000 ))e-2")")
}

cleanup() {
  status=$?
  set +e
  [ -S "$work/havre.sock" ] && docker ps -aq | xargs -r "$work/bin/docker" rm -f >/dev/null
  for pid in ${daemon:-} ${registry:-}; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
  [ $status -eq 0 ] || { echo "--- the daemon's last words"; tail -n 20 "$work/daemon.log"; } >&2
  # The bridge and its rules stay for the next daemon, of which there is none.
  ip link delete havre-demo 2>/dev/null
  nft delete table inet havre-demo 2>/dev/null
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT

cat > "$work/config.toml" <<CONFIG
[network]
bridge = "havre-demo"
table = "havre-demo"
CONFIG
"$havre" daemon --root "$work/root" --socket "$work/havre.sock" --config "$work/config.toml" >"$work/daemon.log" 2>&1 &
daemon=$!

"$havre" registry --listen 127.0.0.1:0 --root "$work/registry" >"$work/registry.log" 2>&1 &
registry=$!
port=
for _ in $(seq 200); do
  port=$(sed -n 's|.* at http://127\.0\.0\.1:\([0-9]*\)$|\1|p' "$work/registry.log")
  [ -S "$work/havre.sock" ] && [ -n "$port" ] && break
  kill -0 "$daemon" 2>/dev/null || fail "the daemon ended"
  kill -0 "$registry" 2>/dev/null || fail "the registry ended: $(cat "$work/registry.log")"
  sleep 0.05
done
[ -n "$port" ] || fail "the registry does not say where it listens"

remote=localhost:$port/python_app:version_de_ouf
said() { grep -q 👎 "$work/output" || fail "the application did not say its sentence"; }

step "base image from Debian's packages" havre image bootstrap debian
cd "$here/python_app_build"
step "build, nothing cached"             docker build . -t python_app:version_de_ouf
step "build, everything cached"          docker build -q . -t python_app:version_de_ouf
step "list"                              docker images
step "what made it"                      docker history python_app:version_de_ouf
step "run"                               docker run python_app:version_de_ouf; said
step "tag"                               docker tag python_app:version_de_ouf "$remote"
step "push"                              docker push "$remote"
docker ps -aq | xargs -r docker rm >/dev/null
# A container that was removed can be brought back, so it still stands on its layers.
step "give up what was removed"          docker undo --forget --force
step "remove"                            docker rmi -f "$remote" python_app:version_de_ouf
step "forget the build cache"            docker builder prune -af
step "pull"                              docker pull "$remote"
step "run again"                         docker run --rm "$remote"; said
step "sizes"                             docker system df

bold "What it took"
printf '%s\n' "${timings[@]}"
