"""What the tests of 3d-generation share: reading meshes and pictures back."""

from pathlib import Path

import numpy as np
import pytest

from tests.support import DATA, missing

SCANS = DATA / "3d"
ROOM = SCANS / "livingroom1"
PAPER = np.array([0.96, 0.965, 0.975]) * 255


def require_open3d():
    try:
        import laspy
        import open3d
        import pyproj
        import trimesh
    except (ImportError, OSError) as error:
        missing(f"a library of the extra 3d ({error})")
    assert laspy and pyproj and trimesh  # noqa: PT018  imported to see whether they are there
    return open3d


def read_glb(path):
    """Positions in glTF's axes (y up), triangles, and colours as glTF keeps them: linear, 16 bits; None without."""
    import trimesh

    scene = trimesh.load(path, process=False)
    [name] = scene.geometry
    found = scene.geometry[name]
    [node] = scene.graph.nodes_geometry
    turn, _ = scene.graph[node]
    colours = found.visual.vertex_attributes.get("color") if hasattr(found.visual, "vertex_attributes") else None
    return np.asarray(found.vertices) @ turn[:3, :3].T, np.asarray(found.faces), colours


def read_ply(path):
    """The mesh as trimesh sees it."""
    import trimesh

    return trimesh.load(path, process=False)


def to_srgb(linear):
    """Colours 0 to 255 of sRGB from linear ones of 16 bits (IEC 61966-2-1)."""
    light = np.asarray(linear)[:, :3] / 65535
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def in_order(positions):
    """Rows in an order of their own: that of a mesh's vertices says nothing."""
    return positions[np.lexsort(positions.T)]


def views_of(picture: Path):
    """The six views of a preview: (6, rows, columns, 3)."""
    import open3d

    pixels = np.asarray(open3d.io.read_image(str(picture))).astype(float)
    rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 3
    return pixels.reshape(2, rows, 3, columns, 3).swapaxes(1, 2).reshape(6, rows, columns, 3)


def filled(views):
    """Share of each view that is not paper."""
    return (np.abs(views - PAPER).max(axis=-1) > 3).mean(axis=(1, 2))


def expect_refusal(error, words, call):
    with pytest.raises(error, match=words) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
