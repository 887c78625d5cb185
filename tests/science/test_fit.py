"""training.fit against PyTorch run by hand, against closed forms, and against itself where it was interrupted."""

import csv
import json
import logging

import numpy as np
import pytest

from hive.errors import BadParameterError, InputError, StoppedError
from hive.task import Attempt
from hive.task.context import running
from tests.support import DATA, TILE, missing

pytestmark = pytest.mark.science
DIGITS = DATA / "training" / "digits.csv.gz"
# Plain torch 2.13.0 on this table: MLP 64-64-10, ReLU, Adam 1e-3, batches of 32, seed 0.
REFERENCE = ([2.163964, 1.754634, 1.253683, 0.850487, 0.605215], 0.83611)


@pytest.fixture(scope="module")
def fit():
    try:
        import laspy
        import lightning
        import torch
    except ImportError:
        missing("the extra training")
    assert lightning
    assert laspy
    assert torch
    from hive_workers.training.fit import fit

    return fit


def weights(folder, name="weights.pt"):
    import torch

    return torch.load(folder / name, weights_only=True)


def are_equal(one, other):
    """Bit for bit; no tolerance."""
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(folder):
    with (folder / "metrics.csv").open() as sheet:
        return list(csv.DictReader(sheet))


def digits_by_hand(epochs=5):
    """The reference in plain PyTorch: the first 1437 rows are learned from, the last 360 are held out."""
    import torch

    table = torch.tensor(np.loadtxt(DIGITS, delimiter=","), dtype=torch.float32)
    pixels, classes = table[:, :64] / 16, table[:, 64].long()
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for chosen in torch.randperm(1437, generator=chance).split(32):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(pixels[chosen]), classes[chosen])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(chosen)
        losses.append(total / 1437)
    accuracy = (network(pixels[1437:]).argmax(1) == classes[1437:]).double().mean().item()
    return losses, accuracy, network.state_dict()


@pytest.fixture(scope="module")
def digits(fit, tmp_path_factory):
    """Digits, trained without an interruption; shared, so leave the folder as it is."""
    folder = tmp_path_factory.mktemp("digits")
    return fit([DIGITS], out=folder, preview=folder / "preview.png"), folder


def test_digits_equals_plain_pytorch_to_the_bit(digits):
    import torch

    measured, folder = digits
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    losses, accuracy, state = digits_by_hand()
    torch.set_num_threads(before)
    assert [float(row["loss"]) for row in rows(folder)] == losses
    assert measured.scores == {"accuracy": accuracy}
    assert are_equal(weights(folder), state)


def test_digits_has_the_losses_of_the_reference(digits):
    measured, folder = digits
    found = [float(row["loss"]) for row in rows(folder)]
    assert found == pytest.approx(REFERENCE[0], abs=1e-6)  # the reference is written with six digits
    assert measured.scores["accuracy"] == pytest.approx(REFERENCE[1], abs=5e-6)  # and this with five


def test_the_measures_are_those_of_the_files(digits):
    measured, folder = digits
    table = rows(folder)
    assert (measured.epochs, measured.steps, measured.samples, measured.held_out) == (5, 225, 1437, 360)
    assert measured.parameters == 64 * 64 + 64 + 64 * 10 + 10
    assert measured.loss == float(table[-1]["loss"])
    assert measured.best_scores["accuracy"] == max(float(row["accuracy"]) for row in table)
    assert are_equal(weights(folder), weights(folder, "best.pt")) == (measured.best_epoch == 5)


def test_what_comes_back_says_how_to_make_it_again(digits):
    _, folder = digits
    said = json.loads((folder / "model.json").read_text())
    assert said["labels"] == list("0123456789")
    assert said["settings"] == {
        "epochs": 5, "learning_rate": 0.001, "batch_size": 32, "width": 64, "held_out": 0.2, "block_points": 2048,
        "seed": 0,
    }  # fmt: skip
    [(name, digest)] = said["data"].items()
    card = (folder / "README.md").read_text()
    assert name == "digits.csv.gz"
    assert f"| {name} | {digest} |" in card
    assert "After epoch 5: accuracy 0.8361" in card
    assert "Licence of the data: say it here" in card


@pytest.mark.parametrize("name", ["loss.png", "confusion.png", "preview.png"])
def test_the_pictures_show_something(digits, name):
    from matplotlib.image import imread

    picture = imread(digits[1] / name)[:, :, :3]
    assert picture.std() > 0.05
    assert len(np.unique((picture * 255).astype(int).reshape(-1, 3), axis=0)) > 20


def test_another_seed_gives_other_weights(fit, digits, tmp_path):
    fit([DIGITS], out=tmp_path / "a", seed=1, epochs=1)
    fit([DIGITS], out=tmp_path / "b", seed=1, epochs=1)
    fit([DIGITS], out=tmp_path / "c", seed=2, epochs=1)
    assert are_equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not are_equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_every_epoch_is_a_log_line(fit, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        fit([DIGITS], out=tmp_path, epochs=1)
    assert "epoch 1 of 1: loss 2.163964, accuracy 0.6667" in caplog.text


class Folder:
    """A checkpoint folder that stays where it is."""

    def __init__(self, path):
        self.path = path

    def open(self):
        self.path.mkdir(exist_ok=True)
        return self.path

    def close(self):
        pass

    discard = close


class StopAt:
    """A worker that wants to stop as soon as so many batches are done."""

    def __init__(self, flag, batch):
        self.flag, self.batch = flag, batch
        self.reported = []

    def __call__(self, progress):
        self.reported.append(progress)
        if progress.done >= self.batch:
            self.flag.touch()

    def flush(self):
        pass


def attempt(folder, stop_at):
    flag = folder / f"stop-{stop_at}"
    return Attempt(
        job="job", number=1, worker="w1", host="host", worker_pid=1, trace_folder=None, stop_flag=flag,
        report=StopAt(flag, stop_at), checkpoints=Folder(folder / "kept"), cache_folder=folder, allows_scripts=False,
    )  # fmt: skip


def fit_interrupted(fit, tmp_path, *stops, **call):
    """Run attempt after attempt, each stopped after so many batches, and one to the end."""
    for stop in stops:
        with running(attempt(tmp_path, stop)), pytest.raises(StoppedError, match=f"after step {stop} is kept"):
            fit(out=tmp_path / "out", checkpoint_every=1e6, **call)
    with running(attempt(tmp_path, 1e9)):
        return fit(out=tmp_path / "out", checkpoint_every=1e6, **call)


@pytest.mark.parametrize(
    "stops", [(1,), (44,), (45,), (90, 91), (100, 101, 224)], ids=lambda stops: "-".join(map(str, stops))
)
def test_who_goes_on_from_any_batch_comes_to_the_same_weights(fit, digits, tmp_path, stops):
    """An epoch has 45 batches: stops in the middle, before, at and after the end of an epoch."""
    uninterrupted, folder = digits
    measured = fit_interrupted(fit, tmp_path, *stops, files=[DIGITS])
    assert are_equal(weights(tmp_path / "out"), weights(folder))
    assert are_equal(weights(tmp_path / "out", "best.pt"), weights(folder, "best.pt"))
    assert rows(tmp_path / "out") == rows(folder)
    assert (measured.steps, measured.class_scores) == (uninterrupted.steps, uninterrupted.class_scores)


def test_progress_counts_batches_and_says_the_loss(fit, tmp_path):
    one = attempt(tmp_path, 1e9)
    with running(one):
        fit([DIGITS], out=tmp_path / "out", epochs=1)
    last = one.report.reported[-1]
    assert (last.done, last.total, last.unit, last.message) == (45, 45, "batches", "epoch 1 of 1, loss 2.164")


# Learning from tiles.


def make_tile(path, side_m=100, classes=(2, 6), crs=None, **changed):
    """Flat ground with boxes of 10 m x 10 m, 5 m high, one point per square metre and 3 more on it."""
    import laspy

    chance = np.random.default_rng(0)
    count = 4 * side_m**2
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = [0.001] * 3, [500_000, 4_000_000, 0]
    if crs is not None:
        from pyproj import CRS

        header.add_crs(CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    east, north = chance.uniform(0, side_m, (2, count))
    is_roof = ((east // 10) % 2 == 0) & ((north // 10) % 2 == 0)
    cloud.x, cloud.y = 500_000 + east, 4_000_000 + north
    cloud.z = 100 + 5.0 * is_roof + chance.normal(0, 0.02, count)
    cloud.return_number = cloud.number_of_returns = np.ones(count, dtype=np.uint8)
    cloud.classification = np.where(is_roof, classes[1], classes[0])
    for name, value in changed.items():
        cloud[name] = np.full(count, value)
    cloud.write(path)
    return path


def test_roofs_are_told_from_ground(fit, tmp_path):
    """A height of 5 m tells them apart, so that nearly every held-out point is right."""
    tile = make_tile(tmp_path / "roofs.laz")
    measured = fit([tile], out=tmp_path / "out", model="gis-lidar", epochs=4, batch_size=1)
    assert measured.held_out > 5000
    assert measured.scores["mean_iou"] > 0.9
    assert set(measured.class_scores) == {"ground", "building"}


def test_who_goes_on_with_tiles_comes_to_the_same_weights(fit, tmp_path):
    """Here chance also turns the blocks, drops outputs and steers the learning rate; an epoch has 8 batches."""
    call = {"files": [make_tile(tmp_path / "a.laz")], "model": "gis-lidar", "epochs": 2, "block_points": 1024}
    fit(out=tmp_path / "whole", batch_size=4, **call)
    fit_interrupted(fit, tmp_path, 3, 8, 11, batch_size=4, **call)
    assert are_equal(weights(tmp_path / "out"), weights(tmp_path / "whole"))
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


@pytest.mark.full
def test_a_real_tile_is_learned_from(fit, tmp_path):
    """Better than a perceptron that sees one point at a time: IoU 0.8196 of other and 0.2468 of ground."""
    measured = fit([TILE], out=tmp_path, model="gis-lidar", epochs=8)
    assert measured.class_scores["other"] > 0.8196
    assert measured.class_scores["ground"] > 0.2468
    table = [float(row["loss"]) for row in rows(tmp_path)]
    assert table[-1] < 0.85 * table[0]


def test_held_out_points_are_counted_once_and_never_learned_from(fit):
    import torch
    from hive_workers.training.model import Settings
    from hive_workers.training.models import find_model

    samples = find_model("gis-lidar").read([TILE], Settings(1, 0.01, 2, 8, 0.2, 2048, 0))
    counted = sum(int((targets >= 0).sum()) for _, targets in samples.held_out_batches(4))
    assert counted == samples.held_out
    assert sum(samples.learned) + samples.held_out == 110_000
    is_near = (
        samples._near_learned.query(samples._place[samples._is_held_out][:, :2], distance_upper_bound=1e-4)[0] == 0
    )
    assert is_near.mean() < 0.01  # two returns of one pulse may share a place on an edge
    inputs, targets = samples.batch(torch.arange(2), torch.Generator().manual_seed(0))
    assert (targets.shape, inputs["neighbours"][0].shape) == ((2, 2048), (2, 2048, 16))


def test_heights_are_above_the_lowest_point_around():
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("torch")
    from hive_workers.training.models.gis_lidar.blocks import heights

    chance = numpy.random.default_rng(1)
    place = chance.uniform(0, 30, (500, 3)).astype(numpy.float32)
    column, row = place[:, 0] // 4, place[:, 1] // 4
    near = (abs(column[:, None] - column) <= 1) & (abs(row[:, None] - row) <= 1)
    wanted = place[:, 2] - numpy.where(near, place[:, 2], numpy.inf).min(axis=1)
    assert numpy.array_equal(heights(place, 4), wanted)


@pytest.mark.parametrize(("crs", "metres"), [(None, 1.0), ("EPSG:32610", 1.0), ("EPSG:2992", 0.3048)])
def test_places_are_metres_whatever_the_tile_is_in(fit, tmp_path, crs, metres):
    from hive_workers.training.models.gis_lidar.tiles import read_tiles

    place = read_tiles([make_tile(tmp_path / "a.laz", crs=crs)]).place
    assert np.ptp(place, axis=0) == pytest.approx([100 * metres, 100 * metres, 5.15 * metres], rel=0.02)
    assert place.min() == 0


def test_the_spatial_encoding_is_distance_difference_and_both_places(fit):
    """Places in units of 20 m, and the vertical difference ten times: what lies lower decides."""
    import torch
    from hive_workers.training.models.gis_lidar.network import spatial_encoding

    place = torch.tensor([[[0.0, 0, 0], [3, 4, 0], [0, 0, 2]]])
    found = spatial_encoding(place, torch.tensor([[[0, 1], [1, 0], [2, 0]]]))
    assert found[0, 0, 1].tolist() == pytest.approx([5, -3, -4, 0, 0, 0, 0, 0.15, 0.2, 0])
    assert found[0, 2, 1].tolist() == pytest.approx([2, 0, 0, 20, 0, 0, 0.1, 0, 0, 0])


# What cannot be learned from.


def refused(fit, folder, *files, error=InputError, match, **call):
    with pytest.raises(error, match=match):
        fit(list(files), out=folder / "out", **call)
    assert list((folder / "out").iterdir()) == []


def test_a_tile_without_classes_is_refused(fit, tmp_path):
    tile = make_tile(tmp_path / "a.laz", classification=0)
    words = r"The 40,000 points of a.laz have no classes \(all are class 0\); gis-lidar learns from tiles"
    refused(fit, tmp_path, tile, model="gis-lidar", match=words)


def test_a_tile_with_one_class_is_refused(fit, tmp_path):
    tile = make_tile(tmp_path / "a.laz", classification=2)
    refused(fit, tmp_path, tile, model="gis-lidar", match=r"are of class 2 \(ground\); two classes or more are needed")


def test_a_tile_with_only_noise_is_refused(fit, tmp_path):
    tile = make_tile(tmp_path / "a.laz", classification=18)
    refused(fit, tmp_path, tile, model="gis-lidar", match="a.laz has no points, or only noise")


def test_a_tile_in_degrees_is_refused(fit, tmp_path):
    tile = make_tile(tmp_path / "a.laz", crs="EPSG:4326")
    refused(fit, tmp_path, tile, model="gis-lidar", match="a.laz is in degrees; reproject it")


def test_a_tile_too_small_for_a_block_is_refused(fit, tmp_path):
    tile = make_tile(tmp_path / "a.laz", side_m=20)
    words = "points are left to learn from .* fewer than the 2,048 of one block; give more tiles or a smaller --block"
    refused(fit, tmp_path, tile, model="gis-lidar", match=words)


def test_a_class_that_lies_on_one_side_only_is_refused(fit, tmp_path):
    import laspy

    tile = make_tile(tmp_path / "a.laz", classification=2)
    cloud = laspy.read(tile)
    cloud.classification[0] = 9
    cloud.write(tile)
    refused(fit, tmp_path, tile, model="gis-lidar", match="The 1 points of class 'water' all lie .* another --seed")


def write_digits(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def row(digit, pixel="0"):
    return ",".join([pixel] * 64 + [str(digit)])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([row(3)] * 10, "All 10 rows of a.csv have the label 3; two are needed"),
        ([row(3), row(4)[2:]], "Line 2 of a.csv has 64 values; 64 pixels and a digit are needed"),
        ([row(3), row(4, "x")], "Line 2 of a.csv holds something else than numbers"),
        ([row(3), row(4, "nan")], "Line 2 of a.csv: pixels must be 0 to 16 and the digit 0 to 9"),
        ([row(3), row(10)], "Line 2 of a.csv: pixels must be"),
        ([row(3)], "All 1 rows"),
        ([], "a.csv has no rows"),
    ],
)
def test_a_table_that_is_none_is_refused(fit, tmp_path, lines, words):
    refused(fit, tmp_path, write_digits(tmp_path / "a.csv", *lines), match=words)


def test_a_damaged_table_is_refused(fit, tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(DIGITS.read_bytes()[:2000])
    refused(fit, tmp_path, tmp_path / "a.csv.gz", match="a.csv.gz cannot be read as a table")


def test_a_first_row_of_names_is_no_digit(fit, tmp_path):
    names = ",".join(f"pixel{number}" for number in range(64)) + ",digit"
    table = write_digits(tmp_path / "a.csv", names, *[row(number % 2) for number in range(10)])
    assert fit([table], out=tmp_path / "out", epochs=1).samples == 8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"learning_rate": 0}, "learning_rate must be more than 0, not 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be more than 0, not -0.001"),
        ({"held_out": 1}, "held_out must be less than 1, not 1"),
        ({"model": "digit"}, "model must be one of digits, gis-lidar, not 'digit'"),
        ({"model": "gis-lidar"}, "gis-lidar needs classified LiDAR tiles .* digits.csv.gz does not end in .las"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda"),
    ],
)
def test_a_bad_parameter_is_refused(tmp_path, call, words):
    from hive_workers.training.fit import fit

    with pytest.raises(BadParameterError, match=words):
        fit([DIGITS], out=tmp_path / "out", **call)


def test_a_gpu_that_is_not_there_is_said_so(fit, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(fit, tmp_path, DIGITS, error=BadParameterError, device="cuda", match="this worker has no GPU")


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_good_state(fit, tmp_path):
    import torch

    call = {"error": BadParameterError, "learning_rate": 1e30, "checkpoint_every": 0}
    with running(attempt(tmp_path, 1e9)):
        words = r"The loss became \S+ at step \d+, in epoch 1, so .* a smaller learning_rate than 1e\+30"
        refused(fit, tmp_path, DIGITS, match=words, **call)
    kept = torch.load(tmp_path / "kept" / "state.pt", weights_only=True)
    assert all(value.isfinite().all() for value in kept["network"].values())
