"""`gis-lidar`: learn the classes of LiDAR points from classified tiles (RandLA-Net; Hu et al. 2020)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hive.task.files import check_las
from hive_workers.training.model import Model, Samples, Settings

if TYPE_CHECKING:
    import torch

# Rare classes weigh more in the loss, by this power of their share: 0 not at all, 1 as if all were equally common.
_CLASS_WEIGHT_POWER = 0.25


class GisLidar(Model):
    """Semantic segmentation of point clouds by random sampling and local features."""

    name = "gis-lidar"
    summary = "the class of every LiDAR point"
    needs = "classified LiDAR tiles (.las or .laz)"
    suffixes = (".las", ".laz")
    epochs = 30
    learning_rate = 1e-2
    batch_size = 2
    width = 8
    main_score = "mean_iou"

    def check(self, files: Sequence[str | Path]) -> None:
        """Refuse what is no LAS or LAZ file."""
        super().check(files)
        for file in files:
            if isinstance(file, Path) or Path(file).is_file():
                check_las(Path(file))

    def read(self, files: Sequence[Path], settings: Settings) -> Samples:
        """Read the tiles, cut them into cells and hold some cells out."""
        from hive_workers.training.models.gis_lidar.blocks import make_blocks
        from hive_workers.training.models.gis_lidar.tiles import read_tiles

        return make_blocks(read_tiles(files), settings)

    def network(self, samples: Samples, width: int) -> "torch.nn.Module":
        """RandLA-Net with `width` channels in its first layer."""
        from hive_workers.training.models.gis_lidar.blocks import FEATURES
        from hive_workers.training.models.gis_lidar.network import RandLANet

        return RandLANet(FEATURES, len(samples.labels), width)

    def loss(self, samples: Samples) -> "torch.nn.Module":
        """Cross-entropy in which rare classes weigh more."""
        import torch

        share = torch.tensor(samples.learned, dtype=torch.float32) / sum(samples.learned)
        weights = share.pow(-_CLASS_WEIGHT_POWER)
        return torch.nn.CrossEntropyLoss(weight=weights / (weights * share).sum(), ignore_index=-1)

    def schedule(self, optimiser: "torch.optim.Optimizer", steps: int) -> "torch.optim.lr_scheduler.LRScheduler | None":
        """Down to nothing along a cosine (Loshchilov and Hutter 2017, ICLR)."""
        import torch

        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def scores(self, confusion: "torch.Tensor") -> Mapping[str, float]:
        """Accuracy and the mean over classes of intersection over union; a class that never occurs is left out."""
        hits = confusion.diagonal().double()
        union = confusion.sum(0) + confusion.sum(1) - hits
        present = union > 0
        return {
            "accuracy": float(hits.sum() / confusion.sum()),
            "mean_iou": float((hits[present] / union[present]).mean()),
        }


MODEL = GisLidar()
