"""The Celery application, and how a job becomes a message."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from celery import Celery
from kombu.serialization import dumps

from hive.broker import reachable
from hive.errors import SettingError
from hive.jobs import Priority, Specification
from hive.messages import transport
from hive.settings import Settings

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
    application.conf.update(broker_url=settings.broker_url)
    return application


def send(settings: Settings, application: Celery, job_id: str, asked: Specification) -> None:
    """Send a job's message: its id, and what was asked for. Flower is told that it is sent.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; nothing was sent.
    """
    with reachable(settings), _channel(application) as channel:
        made = _make(application, job_id, asked)
        channel.put_many(asked.queue, [_written(application, channel, made, asked.priority)])
        # Telling Flower is a second message; one that cannot be told is no reason to fail.
        fields = {**made.sent_event, "queue": asked.queue, "exchange": "", "routing_key": asked.queue}
        with application.amqp.Producer(channel, auto_declare=False) as producer:
            application.events.Dispatcher(channel.connection.client, enabled=False).publish(
                "task-sent", fields, producer
            )


def send_many(settings: Settings, application: Celery, jobs: Sequence[tuple[str, Specification]]) -> None:
    """Send the messages of many jobs with one command for each list that a queue is made of.

    Flower is not told that they are sent, which would cost as much again; it learns of each job from its worker.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; how many messages it has taken is not known.
    """
    queues: dict[str, list[dict[str, Any]]] = {}
    with reachable(settings), _channel(application) as channel:
        for job_id, asked in jobs:
            message = _written(application, channel, _make(application, job_id, asked), asked.priority)
            queues.setdefault(asked.queue, []).append(message)
        for queue, messages in queues.items():
            channel.put_many(queue, messages)


@contextmanager
def _channel(application: Celery) -> Iterator[transport.Channel]:
    """A channel of a new connection. `default_channel` would wait for a broker that is away, without end."""
    with application.connection_for_write() as connection:
        yield cast(transport.Channel, connection.channel())


def _make(application: Celery, job_id: str, asked: Specification) -> Any:  # noqa: ANN401  celery's named tuple
    """What Celery makes of a job: headers, properties, body, and what Flower may be told."""
    args = (job_id,)
    kwargs: dict[str, Any] = {
        "parameters": dict(asked.parameters),
        "inputs": dict(asked.inputs),
        "outputs": dict(asked.outputs),
        "limits": vars(asked.limits),
    }
    return application.amqp.as_task_v2(
        job_id,
        asked.task,
        args,
        kwargs,
        ignore_result=True,
        create_sent_event=True,
        # What Flower shows. Celery would write the same by `saferepr`, which takes three times as long as all the rest.
        argsrepr=repr(args),
        kwargsrepr=repr(kwargs)[:_SHOWN],
    )


def _written(application: Celery, channel: transport.Channel, made: Any, priority: Priority) -> dict[str, Any]:  # noqa: ANN401  as above
    """What kombu makes of it: the only place where the body of a message is written."""
    content_type, encoding, body = dumps(made.body, serializer=application.conf.task_serializer)
    properties = {**made.properties, "delivery_mode": application.conf.task_default_delivery_mode}
    message: dict[str, Any] = channel.prepare_message(
        body, _STEPS[priority], content_type, encoding, made.headers, properties
    )
    return message


def queue_lists(queue: str) -> list[str]:
    r"""The lists in Redis that a queue is made of, those that go first in front.

    >>> queue_lists("gis")
    ['gis', 'gis\x06\x163', 'gis\x06\x166']
    """
    return [f"{queue}{_SEPARATOR}{step}" if step else queue for step in _STEPS.values()]
