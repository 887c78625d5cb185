"""How a job becomes a message, and which lists in Redis a queue consists of."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from celery.utils.nodenames import anon_nodename
from kombu.serialization import dumps

from hive.celery_adapter.application import Application
from hive.celery_adapter.transport import Channel
from hive.settings import Settings
from hive.store.connection import reachable
from hive.wire.job import Priority, Specification

# Every worker serves this queue beside those that it was started for.
TEST_QUEUE = "test"
# kombu's priority steps: the smaller number goes first, and each step is a list of its own in Redis.
_STEPS = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}
_SEPARATOR = "\x06\x16"
# How much of a job's arguments Celery and Flower show [characters].
_MAX_REPR = 1024


def send(settings: Settings, application: Application, job_id: str, specification: Specification) -> None:
    """Send a job's message: its id and its specification. Flower receives an event that it was sent.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; nothing was sent.
    """
    with open_writer(settings, application) as writer:
        writer.push([writer.encode(job_id, specification)])
        writer.publish_sent_event(job_id, specification)


@contextmanager
def open_writer(settings: Settings, application: Application) -> Iterator["MessageWriter"]:
    """Open a connection to send messages with, many at once.

    Flower receives no event for many: that would double the cost, and the worker announces each job anyway.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; how many messages of a `push` it accepted is unknown.
    """
    with reachable(settings), application.connection_for_write() as connection:
        # `default_channel` would wait for an absent broker for ever.
        yield MessageWriter(application, cast(Channel, connection.channel()))


def requeue_overdue(application: Application) -> None:
    """Put the deliveries of dead workers back into their queues."""
    with application.connection_for_write() as connection:
        connection.channel().qos.requeue_overdue()  # type: ignore[attr-defined]  # that of Hive's transport


class MessageWriter:
    """The one place where a job becomes a message. What all messages share is looked up once."""

    def __init__(self, application: Application, channel: Channel) -> None:
        self._application = application
        self._channel = channel
        self._amqp = application.amqp
        self._serializer = application.conf.task_serializer
        self._delivery_mode = application.conf.task_default_delivery_mode
        self._origin = anon_nodename()

    def encode(self, job_id: str, specification: Specification) -> tuple[str, str]:
        """Encode a job's message: Celery makes headers and body, kombu the rest; returns its list and its text."""
        task_message = self._task_message(job_id, specification, with_event=False)
        content_type, encoding, body = dumps(task_message.body, serializer=self._serializer)
        properties = {**task_message.properties, "delivery_mode": self._delivery_mode}
        message = self._channel.prepare_message(
            body, _STEPS[specification.priority], content_type, encoding, task_message.headers, properties
        )
        return self._channel.encode(specification.queue, message)

    def push(self, messages: Iterable[tuple[str, str]]) -> None:
        """Push encoded messages into their lists."""
        self._channel.push(messages)

    def publish_sent_event(self, job_id: str, specification: Specification) -> None:
        """Publish Celery's event `task-sent`, which Flower reads."""
        event = self._task_message(job_id, specification, with_event=True).sent_event
        fields = {**event, "queue": specification.queue, "routing_key": specification.queue}
        events = self._application.events.Dispatcher(self._channel.connection.client, enabled=False)
        with self._amqp.Producer(self._channel, auto_declare=False) as producer:
            events.publish("task-sent", fields, producer)

    def _task_message(self, job_id: str, specification: Specification, *, with_event: bool) -> Any:  # noqa: ANN401  celery's named tuple
        args = (job_id,)
        kwargs = specification.message | ({"signature": specification.signature} if specification.signature else {})
        return self._amqp.as_task_v2(
            job_id,
            specification.task,
            args,
            kwargs,
            ignore_result=True,
            create_sent_event=with_event,
            origin=self._origin,
            # What Flower shows. Celery's `saferepr` gives the same and takes three times as long as all the rest.
            argsrepr=repr(args),
            kwargsrepr=specification.message_text[:_MAX_REPR],
        )


def queue_lists(queue: str) -> list[str]:
    r"""The lists in Redis that a queue consists of, the highest priority first.

    >>> queue_lists("gis")
    ['gis', 'gis\x06\x163', 'gis\x06\x166']
    """
    return [f"{queue}{_SEPARATOR}{step}" if step else queue for step in _STEPS.values()]
