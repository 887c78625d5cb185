"""Everything that touches Celery and kombu: the application, its Redis transport, messages, and Celery's worker."""

from hive.celery_adapter.application import Application, make_application
from hive.celery_adapter.messages import TEST_QUEUE, MessageWriter, open_writer, queue_lists, send

__all__ = ["TEST_QUEUE", "Application", "MessageWriter", "make_application", "open_writer", "queue_lists", "send"]
