"""Whether programs and libraries are those that Hive needs."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from hive.orchestrator.doctor.finding import Found, Patient, ok, problem, warning

_OURS = "hive-compute"
_OLDEST_REDIS = (7, 0)
# CVE-2025-49844: who may run Lua could run code on the host; the first release of each series with the remedy.
# https://github.com/redis/redis/security/advisories/GHSA-4789-qfc9-5f9q
_MENDED = {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}


def packages(_: Patient) -> Found:
    """Whether what is installed here is what Hive asks for."""
    asked = [Requirement(text) for text in requires(_OURS) or ()]
    ours = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [words for one in ours if (words := _wrong(one))]
    if wrong:
        remedy = "Install Hive anew, in its folder: .venv/bin/pip install -e ."
        yield problem(f"Packages are not as Hive {version(_OURS)} asks: {'; '.join(wrong)}.", remedy)
    else:
        yield ok(f"Hive {version(_OURS)} has the {len(ours)} packages that it asks for, celery {version('celery')}.")


def _wrong(asked: Requirement) -> str:
    """What is wrong with a package; empty where nothing is."""
    try:
        found = version(asked.name)
    except PackageNotFoundError:
        return f"{asked.name} is missing"
    fits = asked.specifier.contains(found, prereleases=True)
    return "" if fits else f"{asked.name} is {found}, not {asked.specifier}"


def redis_version(patient: Patient) -> Found:
    """Whether Redis is new enough, and may have a known hole."""
    name = str(patient.redis_info["redis_version"])
    series, patch = _read(name)
    if series < _OLDEST_REDIS:
        yield problem(f"Redis is {name}; Hive needs 7.0 or newer.", "Install a newer one: brew install redis.")
    elif _is_mended(series, patch):
        yield ok(f"Redis is {name}.")
    else:
        yield warning(
            f"Redis is {name} and may have CVE-2025-49844, by which whoever knows its password can run programs on "
            "its machine; the number alone does not tell, for distributions mend it in older releases.",
            "Look for the CVE in what your system says of its package, such as: apt-get changelog redis-server. Where "
            "it is not there, install 8.2.2 or newer, or the newest of your series: brew upgrade redis.",
        )


def _read(name: str) -> tuple[tuple[int, int], int]:
    """Series and patch of a version.

    >>> _read("8.2.3")
    ((8, 2), 3)
    """
    major, minor, patch = (int(part) if part.isdecimal() else 0 for part in f"{name}.0.0".split(".")[:3])
    return (major, minor), patch


def _is_mended(series: tuple[int, int], patch: int) -> bool:
    """Whether a release of Redis itself has the remedy.

    >>> _is_mended((8, 2), 1), _is_mended((8, 2), 2), _is_mended((8, 4), 0), _is_mended((7, 0), 15)
    (False, True, True, False)
    """
    return series > max(_MENDED) or patch >= _MENDED.get(series, patch + 1)
