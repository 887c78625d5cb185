"""How jobs travel: the Celery application, its Redis transport, and one message for each job."""

from hive.celery_adapter.application import TEST_QUEUE, Post, make_application, posting, queue_lists, send

__all__ = ["TEST_QUEUE", "Post", "make_application", "posting", "queue_lists", "send"]
