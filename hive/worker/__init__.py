"""What runs on a worker: the Celery application and one attempt at a job."""
