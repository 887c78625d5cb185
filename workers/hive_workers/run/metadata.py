"""What a script says about its own needs: the block `# /// script` of PEP 723."""

import tomllib
from pathlib import Path

from hive.errors import BadFileError

_FIRST, _LAST = "# /// script", "# ///"


def read_metadata(script: Path) -> str:
    """The TOML that a script carries; empty where it carries none.

    Raises
    ------
    BadFileError
        The script is no UTF-8 text, or its block has no end.

    References
    ----------
    PEP 723, Inline script metadata; https://packaging.python.org/specifications/inline-script-metadata
    """
    try:
        lines = iter(script.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise BadFileError(f"{script} is no Python script: it is not UTF-8 text.") from error
    if _FIRST not in lines:  # this also moves on to the line behind it
        return ""
    block = []
    for line in lines:
        if line != "#" and not line.startswith("# "):
            break
        block.append(line)
    if _LAST not in block:
        raise BadFileError(f"{script}: its block `{_FIRST}` has no end; write a line `{_LAST}` behind it.")
    end = len(block) - 1 - block[::-1].index(_LAST)
    return "".join(f"{line[2:]}\n" for line in block[:end])


def check_metadata(script: Path) -> None:
    """Refuse a script whose own needs cannot be read, before it is sent.

    Raises
    ------
    BadFileError
        Says what is wrong with its block.
    """
    try:
        tomllib.loads(read_metadata(script))
    except tomllib.TOMLDecodeError as error:
        raise BadFileError(f"{script}: its block `{_FIRST}` is no TOML: {error}.") from error
