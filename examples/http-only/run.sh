#!/usr/bin/env bash
# A job with nothing but curl: run.sh TILE OUT.tif. GATEWAY is where the gateway is, HIVE_HOME holds its token.
set -euo pipefail
tile=${1:?usage: run.sh TILE OUT.tif}
out=${2:?usage: run.sh TILE OUT.tif}
gateway=${GATEWAY:-http://127.0.0.1:8000}
# The token stays out of the process list: curl reads it from a file.
ask() { curl --fail --silent --show-error --header @<(printf 'Authorization: Bearer %s' "$(cat "${HIVE_HOME:-$HOME/.hive}/gateway.token")") "$@"; }
field() {  # field NAME...: a field of the JSON on standard input
  python3 -c 'import functools, json, sys; print(functools.reduce(lambda value, name: value[name], sys.argv[1:], json.load(sys.stdin)))' "$@"
}

digest=$(sha256sum "$tile" | cut -c 1-64)
ask --upload-file "$tile" "$gateway/blob/$digest" >/dev/null
id=$(ask "$gateway/task" --data '{"type": "gis.dtm", "params": {"cell": 2, "raster": "dtm.tif",
  "cloud": "sha256:'"$digest"'/tile.laz"}}' | field id)
echo "job $id"
while state=$(ask "$gateway/task/$id" | field state); do
  case $state in
  succeeded) break ;;
  failed | cancelled) ask "$gateway/task/$id/why"; exit 1 ;;
  esac
  sleep 0.5
done
reference=$(ask "$gateway/task/$id" | field outputs raster)
digest=${reference#sha256:}
ask --output "$out" "$gateway/blob/${digest%%/*}"
echo "wrote $out"
