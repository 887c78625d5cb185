"""Pictures of a training: how loss and scores went, and what is taken for what."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from hive.task import replaced_atomically
from hive_workers.training.fit.loop import Epoch

_DPI = 100
_TOO_MANY_TO_WRITE = 20  # classes beyond which numbers in the cells cannot be read


def draw_curves(epochs: Sequence[Epoch], path: Path) -> None:
    """Loss and scores by epoch."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    _curves(figure, epochs)
    _save(figure, path)


def draw_confusion(confusion: torch.Tensor, labels: Sequence[str], path: Path) -> None:
    """Shares of each true class by predicted class, with the counts."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    _confusion(figure.subplots(), confusion, labels)
    _save(figure, path)


def draw_preview(epochs: Sequence[Epoch], confusion: torch.Tensor, labels: Sequence[str], path: Path) -> None:
    """Both pictures side by side."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    parts = figure.subfigures(1, 2, squeeze=False)[0]
    _curves(parts[0], epochs)
    _confusion(parts[1].subplots(), confusion, labels)
    _save(figure, path)


def _curves(figure: FigureBase, epochs: Sequence[Epoch]) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True)
    numbers = [epoch.number for epoch in epochs]
    top.plot(numbers, [epoch.loss for epoch in epochs], marker=".", color="black")
    top.set_ylabel("loss")
    for name in epochs[0].scores:
        bottom.plot(numbers, [epoch.scores[name] for epoch in epochs], marker=".", label=name.replace("_", " "))
    bottom.set_ylabel("score, held out")
    bottom.set_xlabel("epoch")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.legend()


def _confusion(axes: Axes, confusion: torch.Tensor, labels: Sequence[str]) -> None:
    share = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    picture = axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=45 if max(map(len, labels)) > 3 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class, held out")
    assert axes.figure is not None  # noqa: S101  axes are always in a figure
    axes.figure.colorbar(picture, ax=axes, label="share of the true class")
    if len(labels) <= _TOO_MANY_TO_WRITE:
        for row, counts in enumerate(confusion.tolist()):
            for column, count in enumerate(counts):
                colour = "white" if share[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize="small")


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replaced_atomically(path) as unfinished:
        figure.savefig(unfinished, dpi=_DPI)
