"""What the state of a training is made of: the batches that are left, chance, and the file that they are kept in."""

import logging
import math
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hive.task import stopping
from hive_workers.training.model import Batch, Samples


class Batches:
    """What is left of the present epoch: which samples, in which order, and the chance that they are drawn with."""

    def __init__(self, samples: Samples, size: int, seed: int) -> None:
        self._samples, self._size = samples, size
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.long)
        self._position = 0

    def begin(self) -> "Batches":
        """Draw the order of the next epoch if the present one is over."""
        if self._position >= len(self._order):
            self._order = torch.randperm(self._samples.count, generator=self._generator)
            self._position = 0
        return self

    @property
    def per_epoch(self) -> int:
        """Batches of a whole epoch."""
        return math.ceil(self._samples.count / self._size)

    def __len__(self) -> int:
        """Batches that are left of the present epoch."""
        return math.ceil((len(self._order) - self._position) / self._size)

    def __iter__(self) -> Iterator[Batch]:
        """Draw the batches that are left. A batch counts as done as soon as it is drawn."""
        while self._position < len(self._order):
            chosen = self._order[self._position : self._position + self._size]
            batch = self._samples.batch(chosen, self._generator)
            self._position += len(chosen)
            yield batch

    def state(self) -> dict[str, Any]:
        """All that the next batches depend on."""
        return {"order": self._order, "position": self._position, "generator": self._generator.get_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as whoever gave this state would have."""
        self._order, self._position = state["order"], state["position"]
        self._generator.set_state(state["generator"])


logger = logging.getLogger(__name__)
_FILE = "state.pt"

State = dict[str, Any]


class Keeper:
    """Writes the state into the job's checkpoint folder, at most every so many seconds, and when the worker stops."""

    def __init__(self, folder: Path, every_s: float) -> None:
        self._folder = folder
        self._every_s = every_s
        self._kept_at = time.monotonic()

    def load(self) -> State | None:
        """What an earlier attempt has kept; None where this is the first."""
        file = self._folder / _FILE
        if not file.exists():
            return None
        # Numbers, text and tensors only: nothing that a checkpoint holds is run.
        state: State = torch.load(file, map_location="cpu", weights_only=True)
        if state["torch"] != torch.__version__:
            logger.warning("the checkpoint is from torch %s, this is %s", state["torch"], torch.__version__)
        return state

    def is_due(self) -> bool:
        """Whether the state must be kept now."""
        return stopping() or time.monotonic() - self._kept_at >= self._every_s

    def keep(self, state: Mapping[str, Any]) -> None:
        """Write the state under a hidden name, then rename it, so that only a whole one is ever found."""
        hidden = self._folder / f".{_FILE}"
        torch.save({**state, "chance": _chance(), "torch": str(torch.__version__)}, hidden)
        hidden.replace(self._folder / _FILE)
        self._kept_at = time.monotonic()


def seed_chance(seed: int) -> None:
    """Begin the generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # what a model's libraries may still use
    torch.manual_seed(seed)


def _chance() -> State:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(kind), np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_chance(state: Mapping[str, Any]) -> None:
    """Let the generators go on where they were."""
    random.setstate(state["python"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
