"""The keys that this Hive signs jobs with, and the list of those that its workers trust."""

import json
from collections.abc import Sequence
from pathlib import Path

from hive.settings import Settings, write_private
from hive.wire.signing import EVERY_CAPABILITY, Signer

_SUBMITTERS = ("submitter", "gateway")
_WORKER_KEY, _TRUSTED = "worker.key", "trusted.json"
# There where this is the home of a Hive whose owner signs elsewhere: that key does not come here, and none is made.
ELSEWHERE = "signed-elsewhere"


def make_keys(settings: Settings) -> None:
    """Make what is missing under this home: the keys of those who submit, and a worker's for this machine."""
    if (settings.home / "access" / ELSEWHERE).exists():
        return
    folder = settings.home / "access"
    trusted = {name: Signer(folder / f"{name}.key").public for name in _SUBMITTERS}
    _give(folder, folder, [EVERY_CAPABILITY], json.dumps(trusted, indent=2))


def give_worker_keys(settings: Settings, folder: Path, capabilities: Sequence[str]) -> None:
    """Write what the worker of another machine signs its parts with, and whom it trusts."""
    make_keys(settings)
    _give(settings.home / "access", folder, capabilities, (settings.home / "access" / _TRUSTED).read_text())


def _give(folder: Path, worker_folder: Path, capabilities: Sequence[str], trusted: str) -> None:
    write_private(worker_folder / _TRUSTED, trusted)
    Signer(folder / "submitter.key").make_worker_key(worker_folder / _WORKER_KEY, capabilities)
