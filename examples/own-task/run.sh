#!/usr/bin/env bash
# A task of your own is one file: run.sh HIVE-CHECKOUT TILE. It is tried as a plain function, with no queue and no Redis.
set -euo pipefail
checkout=${1:?usage: run.sh HIVE-CHECKOUT TILE}
tile=${2:?usage: run.sh HIVE-CHECKOUT TILE}

cp "$(dirname "$0")/count.py" "$checkout/workers/hive_workers/gis/count.py"
PYTHONPATH=$checkout:$checkout/workers${PYTHONPATH:+:$PYTHONPATH} python - "$tile" <<'PYTHON'
import sys
from pathlib import Path

from hive_workers.gis.count import count

print(count(Path(sys.argv[1])))
PYTHON
PYTHONPATH=$checkout:$checkout/workers${PYTHONPATH:+:$PYTHONPATH} hive describe gis.count
