"""LiDAR and terrain: point clouds to ground, surfaces and rasters with PDAL."""

from hive.task import Capability

gis = Capability(
    "gis",
    "LiDAR and terrain: point clouds to ground, surfaces and rasters with PDAL.",
    needs=("laspy", "rasterio", "rio_cogeo"),
    programs=("pdal",),
    extra="gis",
)
