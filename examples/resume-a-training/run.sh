#!/usr/bin/env bash
# A training whose worker is killed goes on elsewhere: run.sh DIGITS.csv.gz OUT. Starts its two workers itself.
set -euo pipefail
table=${1:?usage: run.sh DIGITS.csv.gz OUT}
out=${2:?usage: run.sh DIGITS.csv.gz OUT}
logs=$(mktemp -d)
trap 'kill -- $(jobs -p) 2>/dev/null || true; rm -rf "$logs"' EXIT
# They give way to the commands below, which would otherwise see too late how far the training is.
start_worker() { nice -n 19 celery -A hive worker -Q training -c 1 -n "$1@example" --loglevel WARNING >"$logs/$1" 2>&1 & }
field() {  # field NAME...: a field of the job's record, 0 where it has none yet
  hive show "$job" --json |
    python3 -c 'import functools, json, sys; print(functools.reduce(lambda value, name: (value or {}).get(name, 0), sys.argv[1:], json.load(sys.stdin)))' "$@"
}

start_worker first
first=$!
job=$(hive submit training fit "$table" -o "$out" --model digits --epochs 150 --checkpoint-every 0.5s --detach)
echo "job $job"
until (($(field progress "done") >= 200)) || [[ $(field state) == succeeded ]]; do sleep 0.2; done
echo "killing the first worker"
# At once, as when a machine loses its power: the worker, and the processes of its pool.
mapfile -t pool < <(pgrep -P "$first")
kill -KILL "$first" "${pool[@]}"
start_worker second
hive wait "$job"
hive fetch "$job"
echo "attempts: $(field attempts), finished by $(field worker)"
