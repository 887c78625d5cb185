"""`digits`: read handwritten digits of 8 x 8 pixels from a table; small, for first steps and tests."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hive.errors import InputError
from hive_workers.training.model import Batch, Model, Samples, Settings

if TYPE_CHECKING:
    import torch

_PIXELS = 64
_BRIGHTEST = 16  # Alpaydin and Kaynak (1998), UCI Optical Recognition of Handwritten Digits: sums of 4 x 4 bits


@dataclass(frozen=True)
class Digits:
    """Pixels (row, 64) from 0 to 1, and classes (row,)."""

    labels: Sequence[str]
    pixels: "torch.Tensor"
    classes: "torch.Tensor"
    count: int
    """The rows to learn from; those behind them are held out."""

    @property
    def learned(self) -> Sequence[int]:
        """Rows to learn from, by class."""
        counts: list[int] = self.classes[: self.count].bincount(minlength=len(self.labels)).tolist()
        return counts

    @property
    def held_out(self) -> int:
        """Rows that are held out."""
        return len(self.classes) - self.count

    def batch(self, chosen: "torch.Tensor", generator: "torch.Generator") -> Batch:
        """These rows."""
        return self.pixels[chosen], self.classes[chosen]

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """The last rows of the table."""
        for start in range(self.count, len(self.classes), size):
            yield self.pixels[start : start + size], self.classes[start : start + size]


class DigitsModel(Model):
    """A perceptron with one hidden layer."""

    name = "digits"
    summary = "which digit a picture of 8 x 8 pixels shows"
    needs = "one table of 64 pixels (0 to 16) and the digit per row (.csv or .csv.gz)"
    suffixes = (".csv", ".csv.gz")
    epochs = 5
    learning_rate = 1e-3
    batch_size = 32
    width = 64
    main_score = "accuracy"

    def read(self, files: Sequence[Path], settings: Settings) -> Samples:
        """Read the table; its last rows are held out."""
        import torch

        rows = [row for file in files for row in _read_rows(file)]
        if not rows:
            raise InputError(f"{files[0].name} has no rows.")
        table = torch.tensor(rows)
        classes = table[:, _PIXELS].long()
        if len(set(classes.tolist())) < 2:
            raise InputError(f"All {len(rows)} rows of {files[0].name} have the label {classes[0]}; two are needed.")
        count = int(len(rows) * (1 - settings.held_out))
        if not 0 < count < len(rows):
            raise InputError(
                f"{files[0].name} has {len(rows)} rows; that is too few to hold {settings.held_out:g} out."
            )
        labels = [str(digit) for digit in range(int(classes.max()) + 1)]
        return Digits(labels, table[:, :_PIXELS] / _BRIGHTEST, classes, count)

    def network(self, samples: Samples, width: int) -> "torch.nn.Module":
        """64 pixels, `width` hidden units, one output per digit."""
        from torch import nn

        return nn.Sequential(nn.Linear(_PIXELS, width), nn.ReLU(), nn.Linear(width, len(samples.labels)))

    def scores(self, confusion: "torch.Tensor") -> Mapping[str, float]:
        """The share of digits that are read rightly."""
        return {"accuracy": int(confusion.trace()) / int(confusion.sum())}


def _read_rows(file: Path) -> Iterator[list[float]]:
    """The rows of a table; a first row of names is left out."""
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip() and not (number == 1 and not line[:1].isdigit()):
                    yield _read_row(file, number, line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} cannot be read as a table: {error}.") from error


def _read_row(file: Path, number: int, line: str) -> list[float]:
    words = line.strip().split(",")
    if len(words) != _PIXELS + 1:
        raise InputError(f"Line {number} of {file.name} has {len(words)} values; 64 pixels and a digit are needed.")
    try:
        row = [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"Line {number} of {file.name} holds something else than numbers: {error}.") from error
    # Written so that NaN, which compares false with everything, is refused too.
    if not all(0 <= pixel <= _BRIGHTEST for pixel in row[:_PIXELS]) or row[_PIXELS] not in range(10):
        raise InputError(f"Line {number} of {file.name}: pixels must be 0 to 16 and the digit 0 to 9.")
    return row


MODEL = DigitsModel()
