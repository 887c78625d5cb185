"""The batches of an epoch, in an order that can be gone on with from any of them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

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
