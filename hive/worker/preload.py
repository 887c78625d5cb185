"""Importing the libraries of a worker's capabilities before its pool's processes are made, which then share them.

Imported and no more: a process that is forked after its parent has computed with torch hangs, and one after a rendering
with Open3D dies.
"""

import gc
import importlib
import logging
from collections.abc import Iterable

from hive.catalog import all_capabilities
from hive.errors import ServiceError
from hive.settings import Settings
from hive.task import Capability
from hive.worker.starter import Node, refuse_missing

logger = logging.getLogger(__name__)


def prepare(settings: Settings, queues: Iterable[str]) -> None:
    """Refuse capabilities whose libraries or programs this machine lacks, and import those of the others.

    Raises
    ------
    SystemExit
        Says what is missing and how to get it.
    """
    served = [capability for capability in all_capabilities() if capability.name in set(queues)]
    try:
        for capability in served:
            refuse_missing(Node(capability.name, 1))
            if settings.preload:
                _import(capability)
    except ServiceError as error:
        raise SystemExit(f"hive: {error}") from error
    gc.collect()
    gc.freeze()  # what is there now is never looked at again, so that its pages stay shared


def _import(capability: Capability) -> None:
    for name in (*capability.needs, *capability.preload):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ServiceError(
                f"{capability.name} needs {name}, which is installed but cannot be imported: {error}. "
                f"Install it anew, in Hive's folder: .venv/bin/pip install -e '.[{capability.extra}]'."
            ) from error
    logger.info("imported what %s needs", capability.name)
