"""`run.script`: a Python script of the user's own, on a worker whose owner allows it."""

import json
import math
import os
import shutil
from collections.abc import Sequence
from filecmp import cmp
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from hive.errors import NotAllowedError, ScriptError
from hive.task import AnyInput, InputFolder, OutputFolder, Read, checkpoint, current_attempt, progress
from hive.units import Help, Rest
from hive_workers.run import run
from hive_workers.run.environment import environment, script_variables
from hive_workers.run.needs import check_metadata, read_needs
from hive_workers.run.process import Ended, run_program

Measures = dict[str, float | str | bool]
PythonScript = Annotated[Path, Read("Python script", (".py",), check_metadata)]

_MEASURES_FILE = "measures.json"
# A job's record is small: so many measures, of so many characters.
_MOST_MEASURES, _LONGEST_TEXT = 100, 1000
# Characters of a script's last words that are kept.
_LONGEST = 1000


@run.task
def script(
    script: PythonScript,
    files: Annotated[list[AnyInput], Help("Files that it reads; any number.")] = [],  # noqa: B006  never changed
    *,
    project: Annotated[InputFolder | None, Help("Folder with what it imports.")] = None,
    out: Annotated[OutputFolder, Help("Where the folder goes that it starts in and writes to")],
    args: Annotated[list[str], Rest(), Help("Words for the script itself, behind the files.")] = [],  # noqa: B006
) -> Measures:
    """Run a Python script of your own on a worker whose owner allows it.

    It runs as `python SCRIPT FILES ARGS`, in an environment that uv makes from the script's own block `# /// script`
    (PEP 723), or else from the project's pyproject.toml and uv.lock, or its requirements.txt. What it writes into the
    folder that it starts in comes back; numbers and text in a measures.json there become the job's measures.
    """
    _refuse_where_forbidden()
    with TemporaryDirectory(prefix=".run-", dir=out.absolute().parent, ignore_cleanup_errors=True) as passing:
        scratch = Path(passing)
        temporary, inputs = scratch / "tmp", scratch / "in"
        temporary.mkdir()
        placed = [str(path) for path in _place_inputs(files, inputs)]
        file = _in_project(script.absolute(), project.absolute() if project else None)
        with environment(_cache(scratch), read_needs(file, project)) as made:
            progress(1, 2, "steps", "running the script")
            variables = script_variables(made, temporary) | _contract(inputs, out.absolute(), project)
            ended = run_program([str(made / "bin" / "python"), str(file), *placed, *args], variables, out.absolute())
    if ended.code != 0:
        raise ScriptError(_what_happened(script.name, ended))
    return read_measures(out)


def _refuse_where_forbidden() -> None:
    attempt = current_attempt()
    if attempt is not None and not attempt.allows_scripts:
        raise NotAllowedError(
            f"{attempt.worker} runs no scripts of users: its owner has not allowed it. They allow it with "
            "HIVE_ALLOW_SCRIPTS=1 in the environment that the worker is started in."
        )


def _cache(scratch: Path) -> Path:
    """Where environments are kept: with the worker's cache, or where the task is called here, for this call alone."""
    attempt = current_attempt()
    return (attempt.cache_folder if attempt else scratch) / "environments"


def _contract(inputs: Path, out: Path, project: Path | None) -> dict[str, str]:
    """The variables by which a script finds its things."""
    attempt = current_attempt()
    variables = {
        "HIVE_INPUTS": str(inputs),
        "HIVE_OUTPUTS": str(out),
        "HIVE_CHECKPOINT": str(checkpoint()),
        "HIVE_JOB": attempt.job if attempt else "",
        "HIVE_ATTEMPT": str(attempt.number if attempt else 1),
    }
    if project is not None:
        roots = [str(root) for root in (project.absolute(), project.absolute() / "src") if root.is_dir()]
        variables |= {"HIVE_PROJECT": roots[0], "PYTHONPATH": os.pathsep.join(roots)}
    return variables


def _place_inputs(files: Sequence[Path], folder: Path) -> list[Path]:
    """Lay files into one folder under their own names; one whose name is taken goes into a folder of its number."""
    folder.mkdir()
    placed: list[Path] = []
    for number, file in enumerate(files, start=1):
        place = folder / file.name
        if place.exists():
            place = folder / str(number) / file.name
            place.parent.mkdir()
        _lay(file.absolute(), place)
        placed.append(place)
    return placed


def _lay(file: Path, place: Path) -> None:
    """Link a file, which other jobs read too; only root could write into it all the same, and gets a copy."""
    if os.geteuid() == 0:
        shutil.copyfile(file, place)
    else:
        place.symlink_to(file)


def _in_project(script: Path, project: Path | None) -> Path:
    """Where the script lies in its project, so that it finds what is beside it; where it is no part of it, as it is."""
    if project is None:
        return script
    named = [path for path in project.rglob("*.py") if path.name == script.name and path.is_file()]
    same = [path for path in named if cmp(path, script, shallow=False)]
    return min(same, key=lambda path: (len(path.parts), path), default=script)


def _what_happened(name: str, ended: Ended) -> str:
    last = f" Its last words: {ended.errors[-1][:_LONGEST]}" if ended.errors else " It wrote nothing to standard error."
    if not ended.signal:
        return f"{name} ended with exit code {ended.code}.{last}"
    hint = " The machine most likely ran out of memory." if ended.signal == "SIGKILL" else ""
    return f"{name} was ended by {ended.signal}.{hint}{last}"


def read_measures(folder: Path) -> Measures:
    """Read the measures.json of a folder; nothing where there is none.

    Raises
    ------
    ScriptError
        It is no flat JSON object of a size that a job's record can hold.
    """
    file = folder / _MEASURES_FILE
    if not file.is_file():
        return {}
    try:
        measures: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ScriptError(f"The script wrote a {_MEASURES_FILE} that is no JSON: {error}.") from error
    if (
        not isinstance(measures, dict)
        or len(measures) > _MOST_MEASURES
        or not all(map(_is_measure, measures, measures.values()))
    ):
        raise ScriptError(
            f"The script wrote a {_MEASURES_FILE} that is no flat JSON object of at most {_MOST_MEASURES} names with "
            f"finite numbers, true, false or text of at most {_LONGEST_TEXT} characters."
        )
    return measures


def _is_measure(name: str, value: object) -> bool:
    if not (0 < len(name) <= _LONGEST_TEXT and name.isprintable()):
        return False
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
