"""The Celery application as workers run it: every declared task, and the services that make the guarantees.

Libraries are imported and no more: a process that is forked after its parent has computed with torch hangs, and one
after a rendering with Open3D dies.
"""

import gc
import importlib
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import redis

from hive.catalog import all_capabilities, all_tasks
from hive.celery_adapter.worker import DeliveryContext, Reject, WorkerApplication
from hive.celery_adapter.worker import make_worker_application as make_celery_application
from hive.errors import HiveError, ServiceError, UnreadableRecordError
from hive.settings import Settings, load_settings
from hive.task import Capability, Task
from hive.wire.job import JobMessage
from hive.wire.record import convert_record
from hive.worker.attempt import run_attempt
from hive.worker.context import this_context
from hive.worker.leases import LeaseKeeper, note_loss
from hive.worker.presence import Presence
from hive.worker.shutdown import Shutdown
from hive.worker.starter import Node, check_node

logger = logging.getLogger(__name__)


def make_worker_application() -> WorkerApplication:
    """Build the application that `celery -A hive worker` runs.

    Raises
    ------
    HiveError
        The tasks or the settings cannot be read.
    """
    settings = load_settings()
    return make_celery_application(
        settings,
        {task.wire_name: partial(_run, task) for task in all_tasks(with_parts=True)},
        (Presence, LeaseKeeper, Shutdown),
        prepare=partial(prepare, settings),
        note_loss=note_loss,
    )


def prepare(settings: Settings, queues: Iterable[str]) -> None:
    """Refuse capabilities that cannot be served here, and import the libraries of the others.

    Raises
    ------
    SystemExit
        Says what is missing and how to get it.
    """
    served = [capability for capability in all_capabilities() if capability.name in set(queues)]
    try:
        for capability in served:
            check_node(Node(capability.name, 1))
            if settings.preload:
                _import(capability)
    except HiveError as error:
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


def _run(task: Task[Any, Any], delivery: DeliveryContext, job_id: str, specification: dict[str, Any]) -> None:
    context = this_context(delivery.worker, delivery.worker_pid, delivery.slots)
    if reason := context.trust.refusal(job_id, task.wire_name, specification, delivery.signature):
        logger.error("a message for job %.40r is refused and dropped: %s", job_id, reason)
        raise Reject(reason, requeue=False)
    try:
        message = convert_record(JobMessage, specification, f"The message of job {job_id}")
    except UnreadableRecordError as error:
        logger.error("a message is dropped: %s", error)
        raise Reject(error, requeue=False) from error
    try:
        run_attempt(context, task, job_id, message)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Reject(error, requeue=True) from error  # the broker is away; the job is not to blame
