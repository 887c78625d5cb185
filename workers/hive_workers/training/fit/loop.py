"""The loop, carried by Lightning: learn an epoch, look at what was held out, keep the state."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from hive.errors import BadParameterError, StoppedError
from hive.task import progress, stopping
from hive_workers.training.fit.state import Batches, Keeper, State, restore_chance
from hive_workers.training.model import Batch, Model, Samples, Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """One row of `metrics.csv`."""

    number: int
    loss: float
    learning_rate: float
    scores: dict[str, float]


class Training(pl.LightningModule):
    """A network on its way. What is not in `state()` has no influence on where it leads."""

    def __init__(self, model: Model, samples: Samples, settings: Settings, keeper: Keeper) -> None:
        super().__init__()
        self.model, self.samples, self.settings, self.keeper = model, samples, settings, keeper
        self.network = model.network(samples, settings.width)
        self.loss = model.loss(samples)
        self.batches = Batches(samples, settings.batch_size, settings.seed)
        self.epochs: list[Epoch] = []
        self.steps = 0
        self.confusion = torch.zeros(len(samples.labels), len(samples.labels), dtype=torch.long)
        self.best: State = {}
        self._loss_sum, self._seen = 0.0, 0
        self._restored = keeper.load()
        if self._restored is not None:
            self._restore(self._restored)

    # The data: Lightning asks for what is left of the epoch, once for each.

    def train_dataloader(self) -> Batches:
        """What is left of the present epoch, or the next one."""
        return self.batches.begin()

    def val_dataloader(self) -> "_HeldOut":
        """The held-out samples."""
        return _HeldOut(self.samples, self.settings.batch_size)

    # Learning.

    def configure_optimizers(self) -> Any:  # noqa: ANN401  Lightning's own
        """The model's optimiser and schedule, as they were when the state was kept."""
        optimiser = self.model.optimiser(self.network, self.settings.learning_rate)
        schedule = self.model.schedule(optimiser, self.batches.per_epoch * self.settings.epochs)
        if self._restored is not None:
            optimiser.load_state_dict(self._restored["optimiser"])
            if schedule is not None:
                schedule.load_state_dict(self._restored["schedule"])
        if schedule is None:
            return optimiser
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Let chance go on where it was."""
        if self._restored is not None:
            restore_chance(self._restored["chance"])
            self._restored = None

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one batch."""
        inputs, targets = batch
        loss: Tensor = self.loss(self.network(inputs), targets)
        value = float(loss.detach())
        self._refuse_nonsense(value)
        self._loss_sum += value * len(targets)
        self._seen += len(targets)
        return loss

    def _refuse_nonsense(self, loss: float) -> None:
        if loss - loss == 0:  # neither infinite nor NaN
            return
        last = f"The last good state, after step {self.steps}, is kept" if self.steps else "Nothing was learned before"
        raise BadParameterError(
            f"The loss became {loss} at step {self.steps + 1}, in epoch {len(self.epochs) + 1}, so training was "
            f"stopped. {last}; try a smaller learning_rate than {self.settings.learning_rate:g}."
        )

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ANN401  Lightning's own
        """Say how far it is, and keep the state where it is time."""
        self.steps += 1
        total = self.batches.per_epoch * self.settings.epochs
        words = f"epoch {len(self.epochs) + 1} of {self.settings.epochs}, loss {self._loss_sum / self._seen:.4g}"
        progress(self.steps, total, "batches", words)
        if len(self.batches) and self.keeper.is_due():  # after the last batch, the epoch's end keeps it
            self._keep()

    # Looking at what was held out.

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.confusion.zero_()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Count what the network takes for what."""
        inputs, targets = batch
        predicted, classes = self.network(inputs).argmax(dim=1), len(self.samples.labels)
        is_counted = targets >= 0
        pairs = (targets[is_counted] * classes + predicted[is_counted]).cpu()
        self.confusion += pairs.bincount(minlength=classes**2).view(classes, classes)

    def on_train_epoch_end(self) -> None:
        """Note the epoch, which Lightning has looked at by now, and keep the state where it is time."""
        [optimiser] = self.trainer.optimizers
        scores = dict(self.model.scores(self.confusion))
        epoch = Epoch(len(self.epochs) + 1, self._loss_sum / self._seen, optimiser.param_groups[0]["lr"], scores)
        self._loss_sum, self._seen = 0.0, 0
        if not self.epochs or scores[self.model.main_score] > self.best_epoch.scores[self.model.main_score]:
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        self.epochs.append(epoch)
        words = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        logger.info("epoch %d of %d: loss %.6f, %s", epoch.number, self.settings.epochs, epoch.loss, words)
        if self.keeper.is_due() and epoch.number < self.settings.epochs:
            self._keep()

    @property
    def best_epoch(self) -> Epoch:
        """The first epoch with the best main score."""
        return max(self.epochs, key=lambda epoch: epoch.scores[self.model.main_score])

    # Keeping the state.

    def _keep(self) -> None:
        if all(bool(value.isfinite().all()) for value in self.network.parameters()):
            self.keeper.keep(self.state())
        if stopping():
            raise StoppedError(f"The worker stops; the state after step {self.steps} is kept.")

    def state(self) -> State:
        """All that the rest of the training depends on, but for the chance of the libraries."""
        [optimiser], schedules = self.trainer.optimizers, self.trainer.lr_scheduler_configs
        return {
            "network": self.network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedules[0].scheduler.state_dict() if schedules else {},
            "batches": self.batches.state(),
            "steps": self.steps,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "loss": [self._loss_sum, self._seen],
            "confusion": self.confusion,
            "best": self.best,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.batches.restore(state["batches"])
        self.steps = state["steps"]
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self._loss_sum, self._seen = state["loss"]
        self.confusion = state["confusion"]
        self.best = state["best"]
        logger.info("going on from step %d, in epoch %d", self.steps, len(self.epochs) + 1)


@dataclass(frozen=True)
class _HeldOut:
    """The held-out samples, as Lightning takes them: something to go through as often as needed."""

    samples: Samples
    size: int

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.samples.held_out_batches(self.size))


def train(training: Training, device: str) -> None:
    """Run the epochs that are left."""
    left = training.settings.epochs - len(training.epochs)
    trainer = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=left,
        # On a GPU some operations have no repeatable form.
        deterministic=device == "cpu",
        # Each epoch asks for its batches, so that one that was begun elsewhere is gone on with, not begun again.
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(training)
