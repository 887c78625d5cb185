"""What a script needs to run: its own block of PEP 723, or else its project's lock or list of requirements."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


# Lines of a list of requirements that name another one, and beginnings of those that name a folder.
_OTHER_LISTS = ("-r", "--requirement", "-c", "--constraint")
_FOLDERS = ("-e", "--editable", ".", "/", "file:")


@dataclass(frozen=True)
class Needs:
    """The words of uv that install what is needed, and all text that decides what that is."""

    install: tuple[str, ...] = ()
    decisive: tuple[str, ...] = ()


def read_needs(script: Path, project: Path | None) -> Needs:
    """Find what a script needs: its own block goes before the project's files.

    Raises
    ------
    BadFileError
        The script's block cannot be read.
    """
    if metadata := read_metadata(script):
        return _of_script(script, metadata)
    if project is not None and _is_table(project / "pyproject.toml", "project"):
        return _of_project(project)
    if project is not None and (requirements := project / "requirements.txt").is_file():
        return _of_list(requirements)
    return Needs()


def _of_script(script: Path, metadata: str) -> Needs:
    lock = script.with_name(f"{script.name}.lock")
    locked = [_text(lock)] if lock.is_file() else []
    folder = [str(script)] if "path" in str(_sources(metadata)) else []
    frozen = ["--frozen"] if locked else []
    words = ("sync", "--script", str(script), "--active", *frozen)
    return Needs(words, ("script", metadata, *locked, *folder))


def _sources(metadata: str) -> Any:  # noqa: ANN401  any TOML
    return tomllib.loads(metadata).get("tool", {}).get("uv", {}).get("sources", {})


def _of_project(project: Path) -> Needs:
    """A project's dependencies without itself: its own modules are found where they lie."""
    files = [project / name for name in ("pyproject.toml", "uv.lock", ".python-version")]
    frozen = ["--frozen"] if (project / "uv.lock").is_file() else []
    words = ("sync", "--project", str(project), "--no-dev", "--no-install-project", "--no-install-local", *frozen)
    return Needs(words, ("project", *(f"{file.name}\n{_text(file)}" for file in files if file.is_file())))


def _of_list(requirements: Path) -> Needs:
    lines = list(_requirements(requirements))
    folder = [str(requirements)] if any(line.startswith(_FOLDERS) for line in lines) else []
    return Needs(("pip", "install", "-r", str(requirements)), ("requirements", "\n".join(lines), *folder))


def _requirements(file: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """The lines of a list of requirements and of those that it names."""
    for line in map(str.strip, _text(file).splitlines()):
        yield line
        word, _, name = line.replace("=", " ").partition(" ")
        other = (file.parent / name.partition(" #")[0].strip()).resolve()
        if word in _OTHER_LISTS and other.is_file() and other not in seen:
            yield from _requirements(other, seen | {file, other})


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _is_table(file: Path, name: str) -> bool:
    try:
        return name in tomllib.loads(_text(file))
    except (OSError, tomllib.TOMLDecodeError):
        return False
