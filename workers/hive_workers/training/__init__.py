"""Training of neural networks: small models on tables, segmentation of LiDAR tiles."""

from hive.task import Capability

training = Capability(
    "training",
    "Training of neural networks with PyTorch: digits to begin with, LiDAR tiles for work.",
    needs=("torch", "lightning", "matplotlib", "scipy", "laspy"),
    extra="training",
    default="fit",
    preload=("lightning.pytorch", "scipy.spatial", "matplotlib.figure"),
)
