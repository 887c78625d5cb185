"""The Celery application, and how a job becomes a message."""

from typing import Any

from celery import Celery

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
    """Send a job's message: its id, and what was asked for.

    Raises
    ------
    UnreachableError
        The broker does not answer or refuses access; nothing was sent.
    """
    message: dict[str, Any] = {
        "parameters": dict(asked.parameters),
        "inputs": dict(asked.inputs),
        "outputs": dict(asked.outputs),
        "limits": vars(asked.limits),
    }
    with reachable(settings), application.connection_for_write() as connection:
        # kombu would otherwise wait for a broker that is away for as long as the user has patience.
        application.send_task(
            asked.task,
            args=(job_id,),
            kwargs=message,
            task_id=job_id,
            queue=asked.queue,
            priority=_STEPS[asked.priority],
            connection=connection,
            retry=False,
        )


def queue_lists(queue: str) -> list[str]:
    r"""The lists in Redis that a queue is made of, those that go first in front.

    >>> queue_lists("gis")
    ['gis', 'gis\x06\x163', 'gis\x06\x166']
    """
    return [f"{queue}{_SEPARATOR}{step}" if step else queue for step in _STEPS.values()]
