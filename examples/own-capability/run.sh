#!/usr/bin/env bash
# A capability of your own is a pip package: run.sh FOLDER installs it into FOLDER and shows its commands. Workers need it too.
set -euo pipefail
folder=${1:?usage: run.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)

python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target "$folder" "$here"
export PYTHONPATH=$folder${PYTHONPATH:+:$PYTHONPATH}
hive submit gravity sphere --help
hive submit gravity sphere "$folder/profile.csv" --radius 20 --depth 60
