"""What a model is to `training.fit`: its data reader, its network, its loss and its scores.

A model is one module of `hive_workers.training.models` that holds one `Model`. The laptop imports it for `--help` and
for the checks at submit, so torch and its kin are imported inside the methods.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from hive.errors import BadParameterError
from hive.units import AtLeast, Help, Seconds

if TYPE_CHECKING:
    import torch

# What a network takes: a tensor, or tensors by name.
Inputs = Any
Batch = tuple[Inputs, "torch.Tensor"]


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a training; those that the caller left open have the model's own values."""

    epochs: int
    learning_rate: float
    batch_size: int
    width: int
    held_out: float
    block_points: int
    seed: int


@dataclass(frozen=True)
class Computing:
    """Computing.

    None of it is part of the model.
    """

    device: Annotated[Literal["auto", "cpu", "cuda"], Help("Where to compute; auto takes a GPU if there is one.")] = (
        "auto"
    )
    threads: Annotated[
        int, AtLeast(1), Help("Processor threads; more than there are idle cores makes it much slower.")
    ] = 1
    checkpoint_every: Annotated[
        Seconds, AtLeast(0), Help("Save a checkpoint at most this often; 0 saves one after every step.")
    ] = 30.0


class Samples(Protocol):
    """A model's data: samples to learn from, and others that are held out."""

    @property
    def labels(self) -> Sequence[str]:
        """The classes, in the order of the network's outputs."""

    @property
    def count(self) -> int:
        """Samples of one epoch."""

    @property
    def learned(self) -> Sequence[int]:
        """Labelled elements to learn from, by class: the rarer a class, the more it may weigh."""

    @property
    def held_out(self) -> int:
        """Labelled elements that are held out."""

    def batch(self, chosen: "torch.Tensor", generator: "torch.Generator") -> Batch:
        """The samples of these numbers; every chance comes from the generator."""

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """The held-out samples, always the same; a target of -1 is not counted."""


class Model(ABC):
    """One entry of the registry."""

    name: ClassVar[str]
    """What `--model` takes."""
    summary: ClassVar[str]
    """What it learns, in half a sentence."""
    needs: ClassVar[str]
    """Which files it learns from, after "needs"."""
    suffixes: ClassVar[tuple[str, ...]]
    """How the names of these files end."""
    epochs: ClassVar[int]
    learning_rate: ClassVar[float]
    batch_size: ClassVar[int]
    width: ClassVar[int]
    main_score: ClassVar[str]
    """The score that tells which epoch is the best; more is better."""

    def check(self, files: Sequence[str | Path]) -> None:
        """Refuse files that cannot be this model's data; runs on the laptop, where no heavy library is.

        Raises
        ------
        BadParameterError
            No file is named, or one of another kind.
        """
        needed = f"{self.name} needs {self.needs}"
        if not files:
            raise BadParameterError(f"{needed}: hive submit training fit --model {self.name} FILES -o DIR.")
        for file in files:
            if not str(file).lower().endswith(self.suffixes):
                raise BadParameterError(f"{needed}; {Path(file).name} does not end in {' or '.join(self.suffixes)}.")

    @abstractmethod
    def read(self, files: Sequence[Path], settings: Settings) -> Samples:
        """Read the files and hold some samples out.

        Raises
        ------
        InputError
            There is nothing to learn in the files.
        """

    @abstractmethod
    def network(self, samples: Samples, width: int) -> "torch.nn.Module":
        """The network with its first weights; it turns inputs into one output per class, in dimension 1."""

    def loss(self, samples: Samples) -> "torch.nn.Module":
        """What is made small: here the cross-entropy."""
        import torch

        return torch.nn.CrossEntropyLoss(ignore_index=-1)

    def optimiser(self, network: "torch.nn.Module", learning_rate: float) -> "torch.optim.Optimizer":
        """How the weights are moved: here Adam (Kingma and Ba 2015, ICLR)."""
        import torch

        return torch.optim.Adam(network.parameters(), lr=learning_rate)

    def schedule(self, optimiser: "torch.optim.Optimizer", steps: int) -> "torch.optim.lr_scheduler.LRScheduler | None":
        """How the learning rate changes from step to step; here it does not."""
        return None

    @abstractmethod
    def scores(self, confusion: "torch.Tensor") -> Mapping[str, float]:
        """The scores of an epoch from its confusion matrix (true class, predicted class)."""
