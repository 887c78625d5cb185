"""The Lua scripts in `lua/`: each changes job records in one atomic step, timed by Redis' own clock.

A file is one script; its first comment says what its KEYS and ARGV are. A line `-- include NAME` stands for the file
NAME.lua, whose own includes come before it; each is included once, and those that are only included begin with `_`.
Every script knows these values besides:

    key             names of keys (`hive.store.keys.FOR_LUA`): key.jobs, key.waiting .. queue
    DAY_MS          milliseconds of a day
    RUN_BOUNDS_S    bounds of the histogram of run times [s]

Scripts store kinds and facts; the words for people are made when a record is read.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hive.store.keys import FOR_LUA

# From a no-op to a day of training.
RUN_BOUNDS_S = (0.1, 1, 10, 60, 300, 1800, 7200, 28800, 86400)
DAY_S = 86_400

_FOLDER = Path(__file__).with_name("lua")
_INCLUDE = re.compile(r"(?m)^-- include (\w+)\n")


@cache
def load_script(name: str) -> str:
    """Read a script with all that it includes, ready for Redis."""
    text = "\n".join(dict.fromkeys(_texts(name)))
    return _values(text) + text


def script_names() -> list[str]:
    """Names of all scripts, by file."""
    return sorted(file.stem for file in _FOLDER.glob("[!_]*.lua"))


def _texts(name: str) -> Iterator[str]:
    text = (_FOLDER / f"{name}.lua").read_text()
    for included in _INCLUDE.findall(text):
        yield from _texts(included)
    yield _INCLUDE.sub("", text)


def _values(text: str) -> str:
    """The values that a script uses, and no others: it makes them anew whenever it runs."""
    keys = ", ".join(f"{name} = '{FOR_LUA[name]}'" for name in sorted(set(re.findall(r"\bkey\.(\w+)", text))))
    bounds = ", ".join(f"{bound:g}" for bound in RUN_BOUNDS_S)
    values = {"key": f"{{{keys}}}", "DAY_MS": DAY_S * 1000, "RUN_BOUNDS_S": f"{{{bounds}}}"}
    return "".join(f"local {name} = {value}\n" for name, value in values.items() if re.search(rf"\b{name}\b", text))
