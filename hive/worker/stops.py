"""Stopping in good order: SIGTERM gives running tasks the grace period, and so does a spot machine's notice."""

import contextlib
import logging
import os
import signal
import threading
import urllib.error
import urllib.request
from typing import Any

from celery import bootsteps
from celery.apps.worker import install_worker_term_hard_handler  # type: ignore[attr-defined]  # untyped there

from hive.settings import load_settings

logger = logging.getLogger(__name__)
# Amazon EC2 User Guide, "Spot Instance interruption notices": look every 5 s; 404 means that there is no notice.
_LOOK_EVERY_S = 5.0
_TOKEN_PATH = "/latest/api/token"  # noqa: S105  a path, not a secret
_NOTICE_PATH = "/latest/meta-data/spot/instance-action"


class Stops(bootsteps.StartStopStep):
    """A step of the Celery worker, so that any `celery -A hive worker` has it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:  # noqa: ANN401  celery's own signature
        super().__init__(parent, **options)
        self._over = threading.Event()

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Let SIGTERM mean what Celery's SIGQUIT means; on its own it would wait for running tasks without end."""
        parent.app.conf.worker_soft_shutdown_timeout = max(load_settings().grace_s, 0.1)
        with contextlib.suppress(ValueError):  # not in the main thread: a worker inside another program
            install_worker_term_hard_handler(parent, sig="SIGTERM")
        address = load_settings().spot_notice
        if address:
            threading.Thread(target=self._watch, args=(address,), daemon=True, name="spot-notice").start()

    def stop(self, parent: Any) -> None:  # noqa: ANN401
        """Stop looking."""
        self._over.set()

    terminate = stop

    def _watch(self, address: str) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            notice = read_notice(address)
            if notice:
                logger.warning("this machine will be taken away: %s", notice)
                os.kill(os.getpid(), signal.SIGTERM)
                return


def read_notice(address: str) -> str:
    """Ask the metadata service whether this machine will be taken away; empty where not, or where it is silent."""
    try:
        asked = urllib.request.Request(  # noqa: S310  the address is the owner's setting
            address + _TOKEN_PATH, method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        with urllib.request.urlopen(asked, timeout=2) as answer:  # noqa: S310
            token = answer.read().decode()
        asked = urllib.request.Request(address + _NOTICE_PATH, headers={"X-aws-ec2-metadata-token": token})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=2) as answer:  # noqa: S310
            notice: str = answer.read().decode()
            return notice
    except (urllib.error.URLError, OSError):
        return ""
