# Two engines on fresh stores, one of each form of layers. To be sourced with `havre` set; sets `work` and `forms`, defines `on`.
work=$(mktemp -d /var/tmp/havre-real-work.XXXXXX)
export DOCKER_CONFIG=$work/client
mkdir -p "$DOCKER_CONFIG"
forms=(auto directories)
pids=()

cleanup() {
  status=$?
  set +e
  for form in "${forms[@]}"; do
    on "$form" ps -aq 2>/dev/null | xargs -r "$havre" -H "unix://$work/$form.sock" rm -f >/dev/null
  done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
  findmnt -rno TARGET | grep -F "$work/" | sort -r | xargs -r umount -l
  [ $status -eq 0 ] && rm -rf "$work" || echo "real work: reports and logs are in $work" >&2
  exit $status
}
trap cleanup EXIT
on() { local form=$1; shift; "$havre" -H "unix://$work/$form.sock" "$@"; }

for form in "${forms[@]}"; do
  cat > "$work/$form.toml" <<CONFIG
[storage]
layers = "$form"
[network]
bridge = "havre-rw-${form:0:4}"
table = "havre-rw-${form:0:4}"
CONFIG
  "$havre" daemon --root "$work/$form" --socket "$work/$form.sock" --state "$work/$form.run" --config "$work/$form.toml" \
    >"$work/$form.log" 2>&1 &
  pids+=($!)
done
for form in "${forms[@]}"; do
  for _ in $(seq 200); do on "$form" version >/dev/null 2>&1 && break; sleep 0.05; done
  echo "$form: $(on "$form" info | grep -i 'layer format' | tr -s ' ' | paste -sd';')"
done

# What is compared must be what it is said to be: files in the one store, directories in the other.
check_forms() {
  for form in "${forms[@]}"; do
    layers=$(find "$work/$form/layers" -mindepth 1 -maxdepth 1 | wc -l)
    files=$(find "$work/$form/layers" -mindepth 2 -maxdepth 2 -name layer.erofs | wc -l)
    echo "$form: $layers layers, $files of them EROFS files"
    case $form in directories) expected=0 ;; *) expected=$layers ;; esac
    [ "$layers" -gt 0 ] && [ "$files" -eq "$expected" ] || { echo "not what was to be compared" >&2; exit 1; }
  done
}
