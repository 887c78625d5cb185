"""One training from files to results."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hive.errors import BadParameterError
from hive.task import checkpoint, progress
from hive_workers.training.fit.loop import Training, train
from hive_workers.training.fit.report import Facts, write_report
from hive_workers.training.fit.state import Keeper, seed_chance
from hive_workers.training.model import Computing, Model, Settings

# What Lightning tells programmers and no user of Hive can act on.
_CHATTER = (
    "GPU available",
    "The '.*dataloader' does not have many workers",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "Your `IterableDataset` has `__len__` defined",
)


@dataclass(frozen=True)
class Places:
    """Where the results go."""

    folder: Path
    preview: Path | None


def run(
    model: Model, files: Sequence[Path], settings: Settings, computing: Computing, places: Places
) -> dict[str, Any]:
    """Read the files, train, write the results; returns what was measured.

    Raises
    ------
    InputError
        There is nothing to learn in the files.
    BadParameterError
        The device is not there, or the loss grew beyond all bounds.
    StoppedError
        The worker stops; the state is kept.
    """
    began = time.monotonic()
    device = choose_device(computing.device)
    with quiet(), limited_threads(computing.threads):
        progress(0, None, "batches", f"reading {len(files)} {'file' if len(files) == 1 else 'files'}")
        samples = model.read(files, settings)
        seed_chance(settings.seed)
        training = Training(model, samples, settings, Keeper(checkpoint(), computing.checkpoint_every))
        train(training, device)
    facts = Facts(model, settings, files, samples, training, device, computing.threads)
    write_report(facts, places.folder, places.preview)
    return facts.measures() | {"duration": time.monotonic() - began}


def choose_device(device: str) -> str:
    """The device to compute on: `auto` is a GPU where there is one.

    Raises
    ------
    BadParameterError
        The device is cuda, and this worker has no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise BadParameterError("device is cuda, but this worker has no GPU that PyTorch can use; write auto or cpu.")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice to programmers out of the log."""
    lightning = logging.getLogger("lightning.pytorch")
    before = lightning.level
    lightning.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for words in _CHATTER:
                warnings.filterwarnings("ignore", words)
            yield
    finally:
        lightning.setLevel(before)


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads. Sums are taken in another order with another number of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
