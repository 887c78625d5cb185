"""Blocks of points for the network: what is learned from and what is held out, apart in space."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hive.errors import InputError
from hive_workers.training.model import Batch, Settings
from hive_workers.training.models.gis_lidar.network import CHANNELS, NEAR
from hive_workers.training.models.gis_lidar.tiles import Points

# Per point: easting, northing and elevation in the block, height above the lowest point within about a fine and a
# coarse cell, intensity, number of the return, returns of the pulse, last return.
FEATURES = 9
_FINE, _COARSE = 2.0, 10.0  # edges of these cells [m]
# Edge of the cells that are held out as a whole [m]: wide against the neighbourhood that decides on a point's class.
_CELL = 25.0
_FEWER = 4  # each level has a quarter of the points of the one before, as in the paper
_SCALES = (0.95, 1.05)  # a block that is learned from is turned about the vertical, and stretched a little

Floats = NDArray[np.float32]


class Blocks:
    """All points, and which of them are learned from; a sample is the block around one of these."""

    def __init__(self, points: Points, is_held_out: NDArray[np.bool_], block_points: int) -> None:
        self.labels: Sequence[str] = points.names
        self._place, self._label, self._is_held_out = points.place, points.label, is_held_out
        self._features = np.column_stack([*(heights(points.place, cell) for cell in (_FINE, _COARSE)), points.sensor])
        self._size = block_points
        self._learned = np.flatnonzero(~is_held_out)
        # Blocks to learn from have no point in the cells that are held out.
        self._near_learned = cKDTree(points.place[self._learned, :2])
        self._near_all = cKDTree(points.place[:, :2])
        self.learned: Sequence[int] = self._counts(~is_held_out).tolist()
        self.held_out = int(self._counts(is_held_out).sum())
        self.count = math.ceil(len(self._learned) / block_points)
        self._covering = list(self._cover())

    def _counts(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        label = self._label[which]
        return np.bincount(label[label >= 0], minlength=len(self.labels))

    def batch(self, chosen: torch.Tensor, generator: torch.Generator) -> Batch:
        """One block for each number; where it lies, how it is turned and the order of its points are chance."""
        return _stack([self._drawn(generator) for _ in chosen])

    def _drawn(self, generator: torch.Generator) -> "_Block":
        centre = self._place[self._learned[int(torch.randint(len(self._learned), (), generator=generator))]]
        order = torch.randperm(self._size, generator=generator).numpy()
        members = self._learned[self._near_learned.query(centre[:2], self._size)[1][order]]
        turn, stretch = torch.rand(2, generator=generator).tolist()
        return self._block(members, centre, _turned(2 * math.pi * turn) * np.interp(stretch, (0, 1), _SCALES))

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """Blocks that cover all held-out points once; what surrounds them is seen, but not counted."""
        for start in range(0, len(self._covering), size):
            blocks = []
            for members, is_counted in self._covering[start : start + size]:
                place, features, label = self._block(members, self._place[members].mean(axis=0), np.eye(3))
                blocks.append((place, features, np.where(is_counted, label, -1)))
            yield _stack(blocks)

    def _cover(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Blocks around held-out points until each is in one, and which points of a block are new."""
        is_left = self._is_held_out & (self._label >= 0)
        order = np.random.default_rng(0)
        for centre in np.flatnonzero(is_left):
            if is_left[centre]:
                members = order.permutation(self._near_all.query(self._place[centre, :2], self._size)[1])
                yield members, is_left[members]
                is_left[members] = False

    def _block(self, members: NDArray[np.int64], centre: Floats, moved: NDArray[np.float64]) -> "_Block":
        place = ((self._place[members] - centre) @ moved.T).astype(np.float32)
        place[:, 2] -= place[:, 2].min()
        return place, np.column_stack([place, self._features[members]]), self._label[members]


_Block = tuple[Floats, Floats, NDArray[np.int64]]


def make_blocks(points: Points, settings: Settings) -> Blocks:
    """Hold a share of the cells out, as the seed says.

    Raises
    ------
    InputError
        There are too few points for a block, or a class is not on both sides.
    """
    cells = (points.place[:, :2] // _CELL).astype(np.int64)
    _, cell, sizes = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    order = np.random.default_rng(settings.seed).permutation(len(sizes))
    enough = settings.held_out * len(points.place)
    is_held_out = np.zeros(len(sizes), dtype=bool)
    is_held_out[order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), enough))]] = True
    split = is_held_out[cell.reshape(-1)]
    _check_split(points, split, settings)
    return Blocks(points, split, settings.block_points)


def _check_split(points: Points, split: NDArray[np.bool_], settings: Settings) -> None:
    left = int((~split).sum())
    if left < settings.block_points:
        raise InputError(
            f"{left:,} points are left to learn from when {settings.held_out:g} of the cells of {_CELL:g} m are held "
            f"out, fewer than the {settings.block_points:,} of one block; give more tiles or a smaller --block-points."
        )
    for number, name in enumerate(points.names):
        where = split[points.label == number]
        if where.all() or not where.any():
            side = "in held-out cells" if where.all() else "outside the held-out cells"
            raise InputError(
                f"The {len(where):,} points of class {name!r} all lie {side}; give more tiles, "
                "another --held-out or another --seed."
            )


def heights(place: Floats, cell: float) -> Floats:
    """Height of each point above the lowest point of its cell and the eight cells around [m].

    Parameters
    ----------
    place : (point, 3) easting, northing, elevation [m]
    cell : edge of a cell [m]
    """
    columns, rows = (place[:, :2] // cell).astype(np.int64).T + 1
    cells, inverse = np.unique(rows * (columns.max() + 2) + columns, return_inverse=True)
    lowest = np.full(len(cells), np.inf, dtype=np.float32)
    np.minimum.at(lowest, inverse, place[:, 2])
    around = lowest.copy()
    for step in (1, columns.max() + 1, columns.max() + 2, columns.max() + 3):
        for way in (-step, step):
            at = np.searchsorted(cells, cells + way).clip(max=len(cells) - 1)
            is_there = cells[at] == cells + way
            around[is_there] = np.minimum(around, lowest[at])[is_there]
    return place[:, 2] - around[inverse]


def _turned(angle: float) -> NDArray[np.float64]:
    """The matrix that turns about the vertical."""
    return np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])


def _stack(blocks: Sequence[_Block]) -> Batch:
    """A batch as the network takes it: places, neighbours and nearest points by level."""
    levels = [_levels(place) for place, _, _ in blocks]
    inputs = {
        name: [torch.from_numpy(np.stack(level)) for level in zip(*(block[name] for block in levels), strict=True)]
        for name in ("place", "neighbours", "nearest")
    }
    inputs["features"] = [torch.from_numpy(np.stack([features for _, features, _ in blocks]))]
    return inputs, torch.from_numpy(np.stack([label for _, _, label in blocks]))


def _levels(place: Floats) -> dict[str, list[NDArray[np.generic]]]:
    """The points of a block and of its random samples: neighbours in each, nearest point of the next."""
    members: dict[str, list[NDArray[np.generic]]] = {"place": [place], "neighbours": [], "nearest": []}
    for _ in CHANNELS:
        sampled = place[: len(place) // _FEWER]
        members["neighbours"].append(cKDTree(place).query(place, NEAR)[1])
        members["nearest"].append(cKDTree(sampled).query(place)[1])
        members["place"].append(sampled)
        place = sampled
    return members
