"""What a training leaves behind: weights, scores, pictures and a model card."""

import csv
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from hive.task import replaced_atomically
from hive_workers.training.fit.loop import Epoch, Training
from hive_workers.training.model import Model, Samples, Settings

_LIBRARIES = ("torch", "lightning", "numpy")


@dataclass(frozen=True)
class Facts:
    """All that is known of a training that is over."""

    model: Model
    settings: Settings
    files: Sequence[Path]
    samples: Samples
    training: Training
    device: str
    threads: int

    def measures(self) -> dict[str, Any]:
        """What the task returns, but for its duration."""
        training = self.training
        return {
            "epochs": len(training.epochs),
            "steps": training.steps,
            "loss": training.epochs[-1].loss,
            "scores": training.epochs[-1].scores,
            "best_epoch": training.best_epoch.number,
            "best_scores": training.best_epoch.scores,
            "class_scores": intersection_over_union(training.confusion, self.samples.labels),
            "samples": self.samples.count,
            "held_out": self.samples.held_out,
            "parameters": sum(weights.numel() for weights in training.network.parameters()),
            "device": self.device,
        }


def intersection_over_union(confusion: torch.Tensor, labels: Sequence[str]) -> dict[str, float]:
    """Hits over all that is or is taken for a class (Jaccard 1912); 0 for a class that never occurs.

    Parameters
    ----------
    confusion : (true class, predicted class) counts
    labels : the classes
    """
    hits = confusion.diagonal().double()
    union = (confusion.sum(0) + confusion.sum(1) - hits).clamp(min=1)
    return dict(zip(labels, (hits / union).tolist(), strict=True))


def write_report(facts: Facts, folder: Path, preview: Path | None) -> None:
    """Write everything into the folder, which is there and empty."""
    training, labels = facts.training, facts.samples.labels
    torch.save({name: value.cpu() for name, value in training.network.state_dict().items()}, folder / "weights.pt")
    torch.save(training.best, folder / "best.pt")
    (folder / "model.json").write_text(json.dumps(_description(facts), indent=2) + "\n")
    with (folder / "metrics.csv").open("w", newline="") as sheet:
        rows = csv.writer(sheet)
        rows.writerow(["epoch", "loss", "learning_rate", *training.epochs[0].scores])
        rows.writerows(
            [epoch.number, epoch.loss, epoch.learning_rate, *epoch.scores.values()] for epoch in training.epochs
        )
    draw_curves(training.epochs, folder / "loss.png")
    draw_confusion(training.confusion, labels, folder / "confusion.png")
    if preview is not None:
        draw_preview(training.epochs, training.confusion, labels, preview)
    (folder / "README.md").write_text(_card(facts))


def _description(facts: Facts) -> dict[str, Any]:
    """What a program needs to build the network again and to trust it."""
    return {
        "model": facts.model.name,
        "labels": list(facts.samples.labels),
        "settings": asdict(facts.settings),
        "data": {file.name: f"sha256:{_digest(file)}" for file in facts.files},
        "measures": facts.measures(),
        "versions": _versions(),
        "threads": facts.threads,
    }


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def _card(facts: Facts) -> str:
    """The model card, in the order of Mitchell et al. (2019), Model Cards for Model Reporting, FAT*."""
    measured, description = facts.measures(), _description(facts)
    last = ", ".join(f"{name} {value:.4f}" for name, value in measured["scores"].items())
    best = ", ".join(f"{name} {value:.4f}" for name, value in measured["best_scores"].items())
    return "\n".join(
        [
            f"# {facts.model.name}",
            "",
            f"A network that has learned {facts.model.summary}. Made with Hive's `training.fit`.",
            "",
            "## Model",
            "",
            _table({"parameters": f"{measured['parameters']:,}"} | asdict(facts.settings)),
            "## Use",
            "",
            "- Meant for: say here what it may be used for.",
            "- Licence of the weights: say it here; the licence of the data may bind it.",
            "- `weights.pt` has the weights after the last epoch, `best.pt` those of the epoch with the best "
            f"{facts.model.main_score}. Both are plain state dictionaries: `torch.load(path, weights_only=True)`.",
            "",
            "## Data",
            "",
            _table(description["data"]),
            f"Learned from: {_counts(facts.samples)}. "
            f"Held out: {facts.samples.held_out:,}. Licence of the data: say it here.",
            "",
            "## Scores on what was held out",
            "",
            f"- After epoch {measured['epochs']}: {last}.",
            f"- Best, after epoch {measured['best_epoch']}: {best}.",
            "",
            _table({f"IoU {name}": f"{value:.4f}" for name, value in measured["class_scores"].items()}),
            "## Made with",
            "",
            _table(_versions() | {"device": facts.device, "threads": str(facts.threads)}),
        ]
    )


def _counts(samples: Samples) -> str:
    pairs = zip(samples.labels, samples.learned, strict=True)
    return ", ".join(f"{count:,} of class {label}" for label, count in pairs)


def _table(rows: dict[str, Any]) -> str:
    # A file's name may hold anything; a bar would end the cell.
    lines = [f"| {str(name).replace('|', '/')} | {value} |\n" for name, value in rows.items()]
    return "".join(["| | |\n", "| --- | --- |\n", *lines])


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
