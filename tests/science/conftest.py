"""The libraries that the tests compare with."""

import pytest

from tests.science.meshes import require_open3d
from tests.support import missing


@pytest.fixture(scope="module")
def obspy():
    try:
        import obspy
    except ImportError:
        missing("obspy")
    return obspy


@pytest.fixture(scope="module")
def o3d():
    return require_open3d()
