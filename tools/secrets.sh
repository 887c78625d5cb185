#!/usr/bin/env bash
# Makes the secrets that the containers read: `tools/secrets.sh [FOLDER]`. What is there already stays as it is.
#
# The folder is closed to everybody else (0700). The files in it are readable (0444): compose mounts a file with the owner
# and the mode that it has here, and the users in the containers are not you.
set -euo pipefail
PATH=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH
command -v hive >/dev/null || { echo "secrets.sh needs hive on PATH, which makes keys: make install" >&2; exit 1; }
folder=${1:-secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
folder=$(cd "$folder" && pwd)
mkdir -p "$folder/worker"
chmod 700 "$folder/worker"
digest() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c -64; }
for name in redis.password submitter.password gateway.password gateway.token worker/redis.password; do
  [[ -s $folder/$name ]] || od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
done
# As hive.settings.worker_token makes it.
printf 'worker.%s' "$(printf 'worker worker %s' "$(<"$folder/gateway.token")" | digest)" >"$folder/worker/gateway.token.new"
mv -f "$folder/worker/gateway.token.new" "$folder/worker/gateway.token"
# Whoever signs jobs, and whom workers trust. A home of its own: these keys are no business of the one in ~/.hive.
HIVE_HOME=$folder hive access keys "$folder"
chmod 444 "$folder"/*.* "$folder"/worker/*.*
echo "The secrets are in $folder; a worker needs those of $folder/worker, and no others. For hive on this machine:" >&2
printf 'export %s\n' "HIVE_GATEWAY_URL=http://127.0.0.1:${HIVE_GATEWAY_PORT:-8000}" \
  "HIVE_PASSWORD_FILE='$folder/submitter.password'" "HIVE_TOKEN_FILE='$folder/gateway.token'" \
  "HIVE_SIGNING_KEY_FILE='$folder/submitter.key'"
