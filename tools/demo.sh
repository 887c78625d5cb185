#!/usr/bin/env bash
# The main job on real data: a LiDAR tile becomes a terrain model on a worker. Starts a Hive of its own, on a free port,
# and takes it away again; a Hive that runs here already is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/${1:-.venv/bin}:$PATH"

HIVE_HOME=$(mktemp -d "${TMPDIR:-/tmp}/hive-demo.XXXXXX")
free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
HIVE_REDIS_PORT=$(free_port)
HIVE_GATEWAY_PORT=$(free_port)
export HIVE_HOME HIVE_REDIS_PORT HIVE_GATEWAY_PORT
unset HIVE_BROKER_URL HIVE_GATEWAY_URL HIVE_TOKEN HIVE_STORE HIVE_CACHE
worker=
stop() {
  if [[ -n $worker ]]; then kill "$worker" 2>/dev/null; wait "$worker" 2>/dev/null; fi || true
  hive down || true
  rm -rf "$HIVE_HOME"
}
trap stop EXIT

out=demo-output
mkdir -p "$out"
echo "1. Start the Mac side"
hive up 2>/dev/null
echo "2. Start a worker for gis on this machine"
celery -A hive worker -Q gis -c 2 --loglevel WARNING >"$out/worker.log" 2>&1 &
worker=$!
for _ in $(seq 100); do [[ $(hive workers --json) == "[]" ]] || break; sleep 0.2; done
echo "3. Submit: hive submit gis dtm tests/data/gis/autzen_trim.laz $out/autzen_dtm.tif --cell 1"
hive submit gis dtm tests/data/gis/autzen_trim.laz "$out/autzen_dtm.tif" --cell 1 --force
echo "4. Look at it"
echo "  terrain model  $PWD/$out/autzen_dtm.tif"
echo "  preview        $PWD/$out/autzen_dtm.png"
