"""Where `celery -A hive` finds the application."""

import os
import sys

_ASKS = {"inspect", "control", "status"}  # commands of `celery` that give orders to workers, which workers may not
# Also for the processes of the pool, and before any setting is read.
os.environ.setdefault("HIVE_ROLE", "submitter" if _ASKS & set(sys.argv) else "worker")

from hive.worker.application import make_worker_application  # noqa: E402  as above

app = make_worker_application()
