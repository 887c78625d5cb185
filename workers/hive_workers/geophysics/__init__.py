"""Earthquakes and seismic waveforms: detections and onsets with ObsPy."""

from hive.task import Capability

geophysics = Capability(
    "geophysics",
    "Earthquakes: detect events in the waveforms of a network, pick P and S onsets, with ObsPy.",
    needs=("obspy", "matplotlib"),
    extra="geophysics",
    default="detect",
    preload=("obspy.signal.filter", "obspy.signal.trigger", "obspy.core.event", "scipy.signal", "matplotlib.figure"),
)
