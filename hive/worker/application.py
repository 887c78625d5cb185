"""The Celery application as workers run it: every declared task, and the steps that make the guarantees.

Imported and no more: a process that is forked after its parent has computed with torch hangs, and one after a rendering
with Open3D dies.
"""

import gc
import importlib
import logging
import os
from collections.abc import Iterable
from typing import Any

import redis
from billiard.process import current_process
from celery import Celery
from celery import Task as CeleryTask
from celery.apps.worker import Worker
from celery.exceptions import Reject
from celery.signals import celeryd_after_setup

from hive.catalog import all_capabilities, all_tasks
from hive.celery_adapter import TEST_QUEUE, make_application
from hive.celery_adapter.consumer import GatheringConsumer
from hive.errors import ServiceError
from hive.settings import Settings, load_settings
from hive.task import Capability, Task
from hive.worker.attempt import run_attempt
from hive.worker.leases import Keeper
from hive.worker.node import this_place
from hive.worker.presence import Presence
from hive.worker.starter import Node, refuse_missing
from hive.worker.stops import Stops

logger = logging.getLogger(__name__)


def prepare(settings: Settings, queues: Iterable[str]) -> None:
    """Refuse capabilities whose libraries or programs this machine lacks, and import those of the others.

    Raises
    ------
    SystemExit
        Says what is missing and how to get it.
    """
    served = [capability for capability in all_capabilities() if capability.name in set(queues)]
    try:
        for capability in served:
            refuse_missing(Node(capability.name, 1))
            if settings.preload:
                _import(capability)
    except ServiceError as error:
        raise SystemExit(f"hive: {error}") from error
    gc.collect()
    gc.freeze()  # what is there now is never looked at again, so that its pages stay shared


def _import(capability: Capability) -> None:
    for name in (*capability.needs, *capability.preload):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ServiceError(
                f"{capability.name} needs {name}, which is installed but cannot be imported: {error}. "
                f"Install it anew, in Hive's folder: .venv/bin/pip install -e '.[{capability.extra}]'."
            ) from error
    logger.info("imported what %s needs", capability.name)


_HEARTBEAT_S = 60


class QuietWorker(Worker):
    """A worker that says what Flower shows and no more.

    Workers need not know each other: their gossip costs each of them more with every other one, and the Mac too. Two
    heartbeats in a second are for brokers that cannot tell when a worker dies; leases can.
    """

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:  # noqa: ANN401  celery's own
        options["heartbeat_interval"] = options.get("heartbeat_interval") or _HEARTBEAT_S
        ours = {"without_gossip": True, "without_mingle": True, "consumer_cls": GatheringConsumer}
        super().__init__(app, hostname, **options | ours)


class AttemptTask(CeleryTask):  # type: ignore[type-arg]
    """A Celery task whose deliveries are attempts."""

    Request = "hive.worker.request:AttemptRequest"


def make_worker_application() -> Celery:
    """Build the application that `celery -A hive worker` runs."""
    application = make_application(load_settings())
    application.finalize()
    for name in list(application.tasks):
        application.tasks.unregister(name)  # Celery's own, which would call others: only declared tasks run here
    for task in all_tasks(with_parts=True):
        _register(application, task)
    for step in (Presence, Keeper, Stops):
        application.steps["worker"].add(step)
    vars(application)["Worker"] = application.subclass_with_self(QuietWorker, name="Worker")
    celeryd_after_setup.connect(_set_up)
    return application


def _register(application: Celery, task: Task[Any, Any]) -> None:
    @application.task(name=task.wire_name, bind=True, base=AttemptTask)
    def run(celery_task: Any, /, job_id: str, signature: str = "", **asked: Any) -> None:  # noqa: ANN401  what the message holds
        place = this_place(celery_task.request.hostname, _main_pid(), celery_task.app.conf.worker_concurrency)
        if why := place.trust.refusal(job_id, task.wire_name, asked, signature):
            logger.error("a message for job %.40r is refused and dropped: %s", job_id, why)
            raise Reject(why, requeue=False)
        try:
            run_attempt(place, task, job_id, asked)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Reject(error, requeue=True) from error  # the broker is away; the job is not to blame


def _main_pid() -> int:
    """The worker's main process; in a prefork pool tasks run in its children."""
    return os.getppid() if current_process().name != "MainProcess" else os.getpid()


def _set_up(sender: str, instance: Any, **_: Any) -> None:  # noqa: ANN401  celery's signal
    """Prepare for the queues that the worker was started for; like every worker it takes from the test queue too."""
    prepare(load_settings(), list(instance.app.amqp.queues.consume_from))
    # For the processes of the pool, which know it from nowhere else: a slot's price needs it.
    instance.app.conf.worker_concurrency = instance.concurrency
    instance.app.amqp.queues.select_add(TEST_QUEUE)
