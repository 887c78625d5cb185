"""Earthquakes and seismic waveforms: detections with ObsPy."""

from hive.task import Capability

geophysics = Capability(
    "geophysics",
    "Earthquakes: detect events in the waveforms of a network, with ObsPy.",
    needs=("obspy", "matplotlib"),
    extra="geophysics",
    default="detect",
)
