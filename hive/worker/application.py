"""The Celery application as workers run it: every declared task, and the steps that make the guarantees."""

import os
from functools import cache
from typing import Any

import redis
from billiard.process import current_process
from celery import Celery
from celery.exceptions import Reject
from celery.signals import celeryd_after_setup

from hive.broker import connect
from hive.catalog import all_tasks
from hive.jobs import JobStore
from hive.messages import TEST_QUEUE, make_application
from hive.settings import host_name, load_settings
from hive.staging import BlobStore, Cache
from hive.task import Task
from hive.worker.attempt import Place, run_attempt
from hive.worker.presence import Presence


def make_worker_application() -> Celery:
    """Build the application that `celery -A hive worker` runs."""
    application = make_application(load_settings())
    for task in all_tasks():
        _register(application, task)
    application.steps["worker"].add(Presence)
    celeryd_after_setup.connect(_serve_tests_too)
    return application


def _register(application: Celery, task: Task[Any, Any]) -> None:
    @application.task(name=task.wire_name, bind=True)
    def run(celery_task: Any, /, job_id: str, **asked: Any) -> None:  # noqa: ANN401  what the message holds
        try:
            run_attempt(_place(celery_task.request.hostname, _main_pid()), task, job_id, asked)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Reject(error, requeue=True) from error  # the broker is away; the job is not to blame


def _main_pid() -> int:
    """The worker's main process; in a prefork pool tasks run in its children."""
    return os.getppid() if current_process().name != "MainProcess" else os.getpid()


@cache
def _place(worker: str, worker_pid: int) -> Place:
    """Connections of this process; made after the fork, because a connection cannot be shared with the parent."""
    settings = load_settings()
    blobs = BlobStore(settings.store)
    return Place(
        settings=settings,
        store=JobStore(connect(settings, patient=True)),
        blobs=blobs,
        cache=Cache(settings.cache, blobs),
        worker=worker,
        host=host_name(),
        worker_pid=worker_pid,
    )


def _serve_tests_too(sender: str, instance: Any, **_: Any) -> None:  # noqa: ANN401  celery's signal
    """Make every worker consume from the test queue beside those that it was started for."""
    instance.app.amqp.queues.select_add(TEST_QUEUE)
