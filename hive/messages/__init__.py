"""How jobs travel: the Celery application, its Redis transport, and one message for each job."""

from hive.messages.application import TEST_QUEUE, make_application, queue_lists, send, send_many

__all__ = ["TEST_QUEUE", "make_application", "queue_lists", "send", "send_many"]
