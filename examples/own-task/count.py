"""Counting points."""

from collections import Counter
from dataclasses import dataclass

from hive_workers.gis import gis

from hive.task import PointCloud, progress


@dataclass(frozen=True)
class Count:
    """How many points a tile has, and how many of each class."""

    points: int
    classes: dict[str, int]


@gis.task
def count(cloud: PointCloud) -> Count:
    """Count the points of one tile by their ASPRS class."""
    import laspy
    import numpy as np

    classes: Counter[int] = Counter()
    with laspy.open(cloud) as reader:
        total = reader.header.point_count
        for chunk in reader.chunk_iterator(1_000_000):
            numbers, counts = np.unique(np.asarray(chunk.classification), return_counts=True)
            classes.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
            progress(sum(classes.values()), total, "points", "counting")
    return Count(sum(classes.values()), {str(number): classes[number] for number in sorted(classes)})
