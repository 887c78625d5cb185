"""A test that needs no Redis and no worker: a task is a plain function."""

from math import pi

from hive_gravity.sphere import G, sphere


def test_right_above_its_centre_a_sphere_pulls_like_a_point_mass(tmp_path):
    measured = sphere(tmp_path / "profile.csv", radius=10, depth=100, contrast=1000)
    assert abs(measured.largest_mgal - 1e5 * G * (4 / 3 * pi * 10**3 * 1000) / 100**2) < 1e-12
