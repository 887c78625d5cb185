"""Where `celery -A hive` finds the application."""

from hive.worker.application import make_worker_application

app = make_worker_application()
