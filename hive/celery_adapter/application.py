"""The Celery application, and how a job becomes a message."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from celery import Celery
from celery.utils.nodenames import anon_nodename
from kombu.serialization import dumps
from kombu.transport.redis import Channel

from hive.celery_adapter import transport
from hive.errors import SettingError
from hive.settings import Settings
from hive.store.connection import encryption, held_keys, reachable
from hive.wire.job import Priority, Specification

# Every worker serves this queue beside those that it was started for.
TEST_QUEUE = "test"
# kombu's steps: the smaller number goes first, and each step is a list of its own in Redis.
_STEPS = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}
_SEPARATOR = "\x06\x16"
# As much of a job's arguments as Celery shows.
_SHOWN = 1024


def make_application(settings: Settings) -> Celery:
    """Build the Celery application from celeryconfig.py; it knows no tasks yet.

    Raises
    ------
    SettingError
        Another project's celeryconfig.py lies in the way.
    """
    transport.install()
    application = Celery("hive", set_as_current=False)
    application.config_from_object("celeryconfig", force=True)
    if application.conf.task_default_queue != TEST_QUEUE:
        raise SettingError("A celeryconfig.py that is not Hive's lies in this folder; start from another folder.")
    application.conf.update(
        broker_url=settings.broker_url,
        broker_transport_options=application.conf.broker_transport_options | held_keys(settings),
        broker_use_ssl=encryption(settings) or False,
    )
    return application


def send(settings: Settings, application: Celery, job_id: str, asked: Specification) -> None:
    """Send a job's message: its id, and what was asked for. Flower is told that it is sent.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; nothing was sent.
    """
    with posting(settings, application) as post:
        post.put([post.write(job_id, asked)])
        post.tell_flower(job_id, asked)


@contextmanager
def posting(settings: Settings, application: Celery) -> Iterator["Post"]:
    """A connection to send messages with, many at once.

    Flower is not told of many: that would cost as much again, and it learns of each job from its worker.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; how many messages of a `put` it has taken is not known.
    """
    with reachable(settings), application.connection_for_write() as connection:
        # `default_channel` would wait for a broker that is away, without end.
        yield Post(application, cast(Channel, connection.channel()))


class Post:
    """The one place where a job becomes a message. What is the same for all messages is looked up once."""

    def __init__(self, application: Celery, channel: Channel) -> None:
        self._application = application
        self._channel = channel
        self._celery = application.amqp
        self._serializer = application.conf.task_serializer
        self._delivery_mode = application.conf.task_default_delivery_mode
        self._origin = anon_nodename()

    def write(self, job_id: str, asked: Specification) -> tuple[str, str]:
        """Write a job's message: Celery makes headers and body, kombu the rest; returns its list and its text."""
        made = self._made(job_id, asked, told=False)
        content_type, encoding, body = dumps(made.body, serializer=self._serializer)
        properties = {**made.properties, "delivery_mode": self._delivery_mode}
        message = self._channel.prepare_message(
            body, _STEPS[asked.priority], content_type, encoding, made.headers, properties
        )
        return transport.written(self._channel, asked.queue, message)

    def put(self, messages: Iterable[tuple[str, str]]) -> None:
        """Put messages into their lists."""
        transport.put(self._channel, messages)

    def tell_flower(self, job_id: str, asked: Specification) -> None:
        """Send Celery's event of a job that is sent; one that cannot be told is no reason to fail."""
        fields = {**self._made(job_id, asked, told=True).sent_event, "queue": asked.queue, "routing_key": asked.queue}
        events = self._application.events.Dispatcher(self._channel.connection.client, enabled=False)
        with self._celery.Producer(self._channel, auto_declare=False) as producer:
            events.publish("task-sent", fields, producer)

    def _made(self, job_id: str, asked: Specification, *, told: bool) -> Any:  # noqa: ANN401  celery's named tuple
        args = (job_id,)
        kwargs = asked.told | ({"signature": asked.signature} if asked.signature else {})
        return self._celery.as_task_v2(
            job_id,
            asked.task,
            args,
            kwargs,
            ignore_result=True,
            create_sent_event=told,
            origin=self._origin,
            # What Flower shows. Celery's `saferepr` writes the same in three times as long as all the rest takes.
            argsrepr=repr(args),
            kwargsrepr=asked.told_text[:_SHOWN],
        )


def queue_lists(queue: str) -> list[str]:
    r"""The lists in Redis that a queue is made of, those that go first in front.

    >>> queue_lists("gis")
    ['gis', 'gis\x06\x163', 'gis\x06\x166']
    """
    return [f"{queue}{_SEPARATOR}{step}" if step else queue for step in _STEPS.values()]
