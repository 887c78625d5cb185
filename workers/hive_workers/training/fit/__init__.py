"""`training.fit`: train a model of the registry on files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from hive.task import AnyInput, OutputFolder, Preview
from hive.units import AtLeast, AtMost, Help, LessThan, MoreThan, OneOf, Seconds
from hive_workers.training import training
from hive_workers.training.model import Computing, Settings
from hive_workers.training.models import find_model, model_help, model_names

_OWN = "default: the model's own."


@dataclass(frozen=True)
class Fitted:
    """Scores and cost of a training."""

    epochs: Annotated[int, Help("Epochs that were run, those of earlier attempts included.")]
    steps: Annotated[int, Help("Steps of the optimiser.")]
    loss: Annotated[float, Help("Mean loss over the samples of the last epoch.")]
    scores: Annotated[dict[str, float], Help("Scores on the held-out samples after the last epoch.")]
    best_epoch: Annotated[int, Help("The epoch with the best main score.")]
    best_scores: Annotated[dict[str, float], Help("Scores on the held-out samples after the best epoch.")]
    class_scores: Annotated[dict[str, float], Help("Intersection over union by class, after the last epoch.")]
    samples: Annotated[int, Help("Samples of one epoch.")]
    held_out: Annotated[int, Help("Held-out samples that the scores are from; for gis-lidar, points.")]
    parameters: Annotated[int, Help("Numbers that the network has learned.")]
    device: str
    duration: Annotated[Seconds, Help("Time of this attempt, reading included.")]


def _check(values: Mapping[str, object]) -> None:
    """Ask the model what it thinks of the files."""
    files = cast("list[str | Path] | None", values["files"])
    find_model(str(values["model"])).check(files or [])


@training.task(together=_check)
def fit(
    files: Annotated[list[AnyInput] | None, Help("What to learn from; which files, the model says.")] = None,
    *,
    out: Annotated[OutputFolder, Help("Folder for weights, scores, pictures and the model card.")],
    model: Annotated[str, OneOf(model_names()), Help(f"What to train. {model_help()}")] = "digits",
    epochs: Annotated[int | None, AtLeast(1), Help(f"How often to go through all samples; {_OWN}")] = None,
    learning_rate: Annotated[float | None, MoreThan(0), Help(f"Length of the first steps; {_OWN}")] = None,
    batch_size: Annotated[int | None, AtLeast(1), Help(f"Samples of one step; {_OWN}")] = None,
    width: Annotated[int | None, AtLeast(2), AtMost(4096), Help(f"Size of the network; {_OWN}")] = None,
    held_out: Annotated[
        float, MoreThan(0), LessThan(1), Help("Share of the data to keep for the scores, never learned from.")
    ] = 0.2,
    block_points: Annotated[int, AtLeast(1024), Help("gis-lidar: points that the network sees at once.")] = 2048,
    seed: Annotated[int, AtLeast(0), Help("Where every chance begins: same seed, same weights.")] = 0,
    computing: Computing = Computing(),
    preview: Preview | None = None,
) -> Fitted:
    """Train a model and bring back weights, scores, pictures and a model card.

    The model is one of the registry; it says which files it learns from. Some of the data are held out; the scores
    are from these alone. A job whose worker dies goes on elsewhere from its last checkpoint, to the same weights.

    \b
      hive submit training fit --model digits digits.csv.gz -o digits
      hive submit training fit --model gis-lidar --epochs 100 tile_*.laz -o ground
    """  # noqa: D301  click wants the character \b itself
    from hive_workers.training.fit.run import Places, run

    chosen = find_model(model)
    settings = Settings(
        epochs=chosen.epochs if epochs is None else epochs,
        learning_rate=chosen.learning_rate if learning_rate is None else learning_rate,
        batch_size=chosen.batch_size if batch_size is None else batch_size,
        width=chosen.width if width is None else width,
        held_out=held_out,
        block_points=block_points,
        seed=seed,
    )
    return Fitted(**run(chosen, files or [], settings, computing, Places(out, preview)))
