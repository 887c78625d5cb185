"""Celery's worker as Hive runs it: which tasks it has, what runs beside them, and what Hive reads of its state."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from billiard.exceptions import WorkerLostError
from billiard.process import current_process
from celery import Task as CeleryTask
from celery import bootsteps
from celery.apps import worker as celery_program
from celery.exceptions import Reject as Reject
from celery.signals import celeryd_after_setup
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request

from hive.celery_adapter.application import Application, configured
from hive.celery_adapter.messages import TEST_QUEUE
from hive.settings import Settings

_HEARTBEAT_S = 60
# Flower may learn of a change so much later [s]. Celery sends events after each turn of its loop, which for short jobs
# is half of all that a worker's main process does.
_EVENTS_DELAY_S = 0.2


class BatchingConsumer(Consumer):
    """A consumer that sends its events in batches."""

    hub: Any  # celery's, and the next too
    _flush_events: Any
    _next_flush = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # its types say otherwise than its code
        """Send the buffered events in a moment, unless that is scheduled already."""
        now = time.monotonic()
        if self.hub and now >= self._next_flush:
            self._next_flush = now + _EVENTS_DELAY_S
            self.hub.call_later(_EVENTS_DELAY_S, self._flush_events)

    def shutdown(self) -> None:
        """Send the buffered events, then stop."""
        self._flush_events()
        super().shutdown()


class QuietWorker(celery_program.Worker):
    """A worker that sends what Flower shows and no more.

    Workers need not know each other: with gossip each of them costs more with every other one, and so does the Mac. Two
    heartbeats a second are for brokers that cannot tell when a worker dies; leases can.
    """

    soft_shutdown: Callable[[], None] | None = None

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:  # noqa: ANN401  celery's own
        options["heartbeat_interval"] = options.get("heartbeat_interval") or _HEARTBEAT_S
        ours = {"without_gossip": True, "without_mingle": True, "consumer_cls": BatchingConsumer}
        super().__init__(app, hostname, **options | ours)

    def wait_for_soft_shutdown(self) -> None:  # type: ignore[override]  # its types say otherwise than its code
        """Let Hive end the running jobs: Celery would sleep for the whole grace period."""
        if self.soft_shutdown is not None:
            self.soft_shutdown()


class RunningWorker:
    """A Celery worker, as far as Hive looks into it."""

    def __init__(self, controller: Any) -> None:  # noqa: ANN401  celery's WorkController
        self._controller = controller

    @property
    def name(self) -> str:
        """Its name, such as `gis@studio`."""
        return str(self._controller.hostname)

    @property
    def slots(self) -> int:
        """How many jobs it runs at once."""
        return int(self._controller.concurrency)

    @property
    def application(self) -> Application:
        """Its application."""
        application: Application = self._controller.app
        return application

    @property
    def queues(self) -> list[str]:
        """The queues that it serves."""
        return list(self.application.amqp.queues.consume_from)

    @property
    def task_names(self) -> list[str]:
        """The wire names of the tasks that it has registered."""
        return sorted(self.application.tasks)

    @property
    def visibility_timeout_s(self) -> float | None:
        """After what time kombu redelivers, by the option in force, whatever file it came from."""
        timeout: float | None = self.application.conf.broker_transport_options.get("visibility_timeout")
        return timeout

    @property
    def jobs_running(self) -> int:
        """How many jobs run now."""
        return len(state.active_requests)

    @property
    def jobs_received(self) -> int:
        """How many jobs it has received since it started."""
        return sum(state.total_count.values())

    def reserved(self) -> dict[str, str]:
        """The messages that Celery has taken for its pool: their delivery tags, and their jobs."""
        requests = _snapshot(lambda: [*state.reserved_requests, *state.active_requests])
        return {request.message.delivery_tag: str(request.id) for request in requests if request.message is not None}

    def delivery_tags(self) -> set[str]:
        """Tags of the messages that it holds, in its channel or, after a reconnection, only in its requests."""
        consumer = getattr(getattr(self._controller, "consumer", None), "task_consumer", None)
        qos = consumer.channel.qos if consumer is not None and consumer.channel is not None else None
        tags = set(_snapshot(lambda: list(qos._delivered))) if qos is not None else set()
        tags -= set(_snapshot(lambda: list(qos._dirty))) if qos is not None else set()
        return tags | set(self.reserved())

    def on_soft_shutdown(self, step: Callable[[], None]) -> None:
        """Call this when the worker is told to stop, before its pool ends."""
        self._controller.soft_shutdown = step

    def stop_softly_on_sigterm(self) -> None:
        """Let SIGTERM mean what Celery's SIGQUIT means; on its own it would wait for running tasks for ever.

        Raises
        ------
        ValueError
            This is not the main thread: the worker is part of another program, which handles signals itself.
        """
        celery_program.install_worker_term_hard_handler(self._controller, sig="SIGTERM")  # type: ignore[attr-defined]  # untyped there


def _snapshot(read: Callable[[], list[Any]]) -> list[Any]:
    """Copy a collection that the worker's main thread changes meanwhile."""
    while True:
        try:
            return read()
        except RuntimeError:
            time.sleep(0.001)


class Service(Protocol):
    """Something that runs beside a worker's jobs for as long as the worker does."""

    def __init__(self, worker: RunningWorker) -> None: ...

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End; the worker waits for it."""


def _as_step(service: type[Service]) -> type[bootsteps.StartStopStep]:
    """A step of Celery's worker, so that every `celery -A hive worker` has the service."""

    def create(_: bootsteps.StartStopStep, parent: Any) -> Service:  # noqa: ANN401  celery's own signature
        return service(RunningWorker(parent))

    members = {"__module__": service.__module__, "requires": ("celery.worker.components:Pool",), "create": create}
    return type(service.__name__, (bootsteps.StartStopStep,), members)


class AttemptRequest(Request):
    """A delivery of a job. When a child of the pool dies, its task hears of it at once."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  celery's own signature
        """Tell the task before Celery requeues the message, so that the next attempt may start at once."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt):
            task: Any = self.task  # an AttemptTask
            task.note_loss(self.hostname, self.id, str(error))
        return super().on_failure(exc_info, *args, **kwargs)


class AttemptTask(CeleryTask):  # type: ignore[type-arg]
    """A Celery task whose deliveries are attempts."""

    Request = AttemptRequest  # type: ignore[assignment]  # a class does as well as its name
    note_loss: Callable[[str, str, str], None]


class WorkerApplication(Application):
    """The application that `celery -A hive worker` runs."""

    @cached_property
    def Worker(self) -> Any:  # noqa: ANN401, N802  celery's own name and class
        """The worker program that `celery worker` starts for this application."""
        return self.subclass_with_self(QuietWorker, name="Worker")


class DeliveryContext:
    """Who received the message of a job."""

    def __init__(self, task: Any, signature: str) -> None:  # noqa: ANN401  celery's bound task
        self.signature = signature
        self.worker: str = task.request.hostname
        self.slots: int | None = task.app.conf.worker_concurrency
        # The worker's main process; in a prefork pool tasks run in its children.
        self.worker_pid = os.getppid() if current_process().name != "MainProcess" else os.getpid()


# Runs a job, by its id and its specification as the message has it.
RunJob = Callable[[DeliveryContext, str, dict[str, Any]], None]


def make_worker_application(
    settings: Settings,
    tasks: Mapping[str, RunJob],
    services: Iterable[type[Service]],
    *,
    prepare: Callable[[list[str]], None],
    note_loss: Callable[[str, str, str], None],
) -> WorkerApplication:
    """Build the application of workers.

    Parameters
    ----------
    settings : of this worker
    tasks : by wire name, what runs a job of each
    services : run beside the jobs
    prepare : called with the worker's queues before it makes its pool
    note_loss : called with worker, job and Celery's words when a child of the pool has died
    """
    application = configured(WorkerApplication("hive", set_as_current=False), settings)
    application.finalize()
    for name in list(application.tasks):
        application.tasks.unregister(name)  # Celery's own, which would call others: only declared tasks run here
    for name, run in tasks.items():
        _register(application, name, run, note_loss)
    for service in services:
        application.steps["worker"].add(_as_step(service))

    def set_up(sender: str, instance: Any, **_: Any) -> None:  # noqa: ANN401  celery's signal
        if instance.app is not application:
            return  # signals belong to the process; this worker belongs to another application
        prepare(list(application.amqp.queues.consume_from))
        # For the processes of the pool, which cannot know it otherwise: a slot's price needs it.
        application.conf.worker_concurrency = instance.concurrency
        application.amqp.queues.select_add(TEST_QUEUE)  # like every worker it serves the test queue too

    celeryd_after_setup.connect(set_up, weak=False)
    return application


def _register(application: Application, name: str, run: RunJob, note_loss: Callable[[str, str, str], None]) -> None:
    # A shared task would belong to every Celery application of the process.
    @application.task(name=name, bind=True, base=AttemptTask, shared=False, note_loss=staticmethod(note_loss))
    def run_delivery(celery_task: Any, /, job_id: str, signature: str = "", **specification: Any) -> None:  # noqa: ANN401  what the message holds
        run(DeliveryContext(celery_task, signature), job_id, specification)
