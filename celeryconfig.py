"""Celery's own settings for Hive, on the Mac and on every worker.

`hive.celery_adapter` loads this module, and adds what differs between machines: the broker's address, its encryption
and the visibility timeout.
"""

broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a worker outlasts a Mac that sleeps, however long

broker_transport_options = {
    "socket_keepalive": True,
    "socket_timeout": 30,
    "health_check_interval": 60,  # each idle worker asks so often; that it is well is told by leases, not by this
    "unacked_restore_interval": 3600,  # Hive's sweeps look for overdue deliveries, not kombu's timer of each worker
    "unacked_mutex_expire": 5,  # a worker killed while it looks must not stop the others for 5 minutes
    "queue_order_strategy": "priority",
}

# Messages are JSON and nothing else: a pickle in a broker would run code on whoever reads it.
accept_content = ["json"]
task_serializer = "json"
event_serializer = "json"

# A job is acknowledged when its result is kept, so a worker that dies with it does not take it along. A job that kills
# its workers is stopped by the count of attempts in its record.
task_acks_late = True
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False

# Results are in Hive's job records, which are fenced by attempt; Celery's own result store is not.
task_ignore_result = True
task_store_errors_even_if_ignored = False

# What Flower shows.
worker_send_task_events = True
task_send_sent_event = True
task_track_started = True

# A worker that is started without -Q serves nothing but checks of the fleet.
task_default_queue = "test"
worker_hijack_root_logger = True
worker_redirect_stdouts = False  # what a task prints reaches its job's log as it is (hive.worker.logs.capture)
