"""Where `celery -A hive` finds the application."""

import os
import sys

_CONTROL_COMMANDS = {"inspect", "control", "status"}  # of `celery`: they give orders to workers, which workers may not
# Also for the processes of the pool, and before any setting is read.
os.environ.setdefault("HIVE_ROLE", "submitter" if _CONTROL_COMMANDS & set(sys.argv) else "worker")

from hive.errors import HiveError  # noqa: E402  as above
from hive.worker.application import make_worker_application  # noqa: E402

try:
    app = make_worker_application()
except HiveError as error:
    raise SystemExit(f"hive: {error}") from error
