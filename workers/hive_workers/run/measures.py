"""What a script measured, as it writes it into measures.json."""

import json
import math
from pathlib import Path
from typing import Any

from hive.errors import ScriptError

Measures = dict[str, float | str | bool]

_NAME = "measures.json"
# A job's record is small: so many measures, of so many characters.
_MOST, _LONGEST = 100, 1000


def read_measures(folder: Path) -> Measures:
    """Read the measures.json of a folder; nothing where there is none.

    Raises
    ------
    ScriptError
        It is no flat JSON object of a size that a job's record can hold.
    """
    file = folder / _NAME
    if not file.is_file():
        return {}
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ScriptError(f"The script wrote a {_NAME} that is no JSON: {error}.") from error
    if not isinstance(found, dict) or len(found) > _MOST or not all(map(_is_measure, found, found.values())):
        raise ScriptError(
            f"The script wrote a {_NAME} that is no flat JSON object of at most {_MOST} names with finite "
            f"numbers, true, false or text of at most {_LONGEST} characters."
        )
    return found


def _is_measure(name: str, value: object) -> bool:
    if not (0 < len(name) <= _LONGEST and name.isprintable()):
        return False
    if isinstance(value, str):
        return len(value) <= _LONGEST
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
