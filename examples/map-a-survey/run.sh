#!/usr/bin/env bash
# One terrain model for each tile of a folder: run.sh TILES OUT
set -euo pipefail
tiles=${1:?usage: run.sh FOLDER-OF-TILES OUT}
out=${2:?usage: run.sh FOLDER-OF-TILES OUT}

hive map gis dtm "$tiles"/*.laz --out "$out" --cell 2
echo "again: what is done is not sent a second time"
hive map gis dtm "$tiles"/*.laz --out "$out" --cell 2
ls "$out"
