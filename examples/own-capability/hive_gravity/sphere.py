"""The gravity anomaly of a buried sphere."""

import csv
from dataclasses import dataclass
from math import pi
from typing import Annotated

from hive.task import AnyOutput, replaced_atomically
from hive.units import Help, Metres, MoreThan
from hive_gravity import gravity

# Newtonian constant of gravitation [m³ kg⁻¹ s⁻²]; CODATA 2018.
G = 6.67430e-11


@dataclass(frozen=True)
class Anomaly:
    """The profile's largest anomaly [mGal]."""

    largest_mgal: float


@gravity.task
def sphere(
    profile: AnyOutput,
    *,
    radius: Annotated[Metres, MoreThan(0), Help("Radius of the sphere.")] = 50.0,
    depth: Annotated[Metres, MoreThan(0), Help("Depth of its centre.")] = 100.0,
    contrast: Annotated[float, Help("Density contrast [kg/m3].")] = 500.0,
    length: Annotated[
        Metres, MoreThan(0), Help("Length of the profile, which the sphere is in the middle of.")
    ] = 1000.0,
    spacing: Annotated[Metres, MoreThan(0), Help("Distance between stations.")] = 10.0,
) -> Anomaly:
    """Write the vertical gravity anomaly along a profile over a buried sphere.

    The file is CSV: distance from above the centre [m], anomaly [mGal].

    References
    ----------
    Telford, Geldart, Sheriff (1990), Applied Geophysics, section 2.7.2: the sphere acts as a point mass.
    """
    mass = 4 / 3 * pi * radius**3 * contrast
    stations = [-length / 2 + spacing * number for number in range(int(length / spacing) + 1)]
    anomalies = [1e5 * G * mass * depth / (distance**2 + depth**2) ** 1.5 for distance in stations]
    with replaced_atomically(profile) as unfinished, unfinished.open("w", newline="") as file:
        csv.writer(file).writerows([("distance_m", "anomaly_mgal"), *zip(stations, anomalies, strict=True)])
    return Anomaly(max(anomalies))
