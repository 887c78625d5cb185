"""3D models: depth images and point clouds to meshes with Open3D."""

from hive.task import Capability

threed = Capability(
    "3d-generation",
    "3D models: depth images and point clouds to meshes with Open3D.",
    needs=("open3d", "laspy", "pyproj"),
    extra="3d",
)
