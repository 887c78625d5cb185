#!/usr/bin/env bash
# Makes what the containers of the Mac side read: `tools/secrets.sh [FOLDER] [--address NAME]`. What is there already stays
# as it is. The folder is a HIVE_HOME, closed to everybody else: `hive access add` makes identities for workers in it.
set -euo pipefail
PATH=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH
command -v hive >/dev/null || { echo "secrets.sh needs hive on PATH: make install" >&2; exit 1; }
folder=secrets
if [[ ${1:-} == [!-]* ]]; then folder=$1; shift; fi
HIVE_HOME=$folder exec hive access containers "$@"
