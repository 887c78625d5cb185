#!/usr/bin/env bash
# Tries the lowest versions that pyproject.toml allows: makes an environment with them and runs the tests that touch
# each dependency there. `tools/lowest.sh [FOLDER] [PYTEST ARGUMENTS]`; needs uv and the network.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-build/lowest}
shift || true
uv=$(command -v .venv/bin/uv || command -v uv) || { echo "lowest: needs uv: make install-all" >&2; exit 1; }

"$uv" venv --quiet --clear --python "${PYTHON:-.venv/bin/python}" "$venv"
"$uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct \
  --editable '.[gis,aws,digitalocean,run,redis-server]'
# What the tests need must not lift them again.
"$uv" pip freeze --quiet --exclude-editable --python "$venv/bin/python" >"$venv/lowest.txt"
"$uv" pip install --quiet --python "$venv/bin/python" --constraint "$venv/lowest.txt" \
  pytest pytest-cov pytest-xdist pexpect jsonschema trustme pyyaml 'moto[ec2,s3,server]'
"$uv" pip list --quiet --python "$venv/bin/python" | grep -E '^(boto3|celery|click|cryptography|flower|httpx|kombu|laspy|obstore|pathspec|prometheus|psutil|rasterio|redis|rich|tornado|urllib3) '

# Celery, kombu, redis-py · click, rich · Flower, Tornado, urllib3 · prometheus-client · cryptography · obstore ·
# boto3 · httpx · pathspec, psutil
# PDAL's program is that of .venv.
PATH="$PWD/.venv/bin:$PATH" exec "$venv/bin/python" -m pytest -q -n 2 "$@" tests/upstream \
  tests/wire/test_messages.py tests/wire/test_transport.py tests/wire/test_submit.py tests/wire/test_waiting.py \
  tests/wire/test_blobs.py tests/wire/test_gateway.py tests/wire/test_metrics.py tests/wire/test_signing.py \
  tests/wire/test_buckets.py tests/fleet/test_aws.py tests/fleet/test_digitalocean.py \
  tests/unit/test_staging.py tests/unit/test_slots.py
