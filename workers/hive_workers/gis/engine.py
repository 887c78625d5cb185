"""Running PDAL pipelines: JSON in, metadata out, in a child process whose crash is the attempt's error."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hive.errors import EngineError

logger = logging.getLogger(__name__)
Stage = Mapping[str, Any]


def run_pipeline(stages: Sequence[Stage], about: str) -> dict[str, dict[str, Any]]:
    """Run a pipeline of PDAL stages; `about` names the file that an error is about.

    Returns
    -------
    What each stage tells of its work, by the stage's type: `{"readers.las": {"count": 110000, …}, …}`.

    Raises
    ------
    EngineError
        PDAL failed or was ended; with PDAL's own words.
    """
    with tempfile.TemporaryDirectory(prefix="pdal-") as folder:
        pipeline, metadata = Path(folder, "pipeline.json"), Path(folder, "metadata.json")
        pipeline.write_text(json.dumps([_exact(stage) for stage in stages]))
        ended = subprocess.run(  # noqa: S603  our own module, files of our own making
            [sys.executable, "-m", "hive_workers.gis.pdal_child", str(pipeline), str(metadata)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | {"PATH": _search_path()},
        )
        # PDAL writes to stderr also where all is well, so only the exit code tells.
        if ended.returncode != 0:
            raise EngineError(f"PDAL {_what_happened(ended.returncode, ended.stderr)} ({about})")
        if ended.stderr.strip():
            logger.debug("PDAL: %s", ended.stderr.strip())
        reported: dict[str, dict[str, Any]] = json.loads(metadata.read_text())["stages"]
        return reported


def _exact(stage: Stage) -> dict[str, Any]:
    """Write fractions as text: PDAL rounds JSON numbers to six digits, which moves a grid in UTM by metres."""
    return {name: repr(value) if isinstance(value, float) else value for name, value in stage.items()}


def _search_path() -> str:
    """PATH with this environment's programs in front: `make install` puts `pdal` there."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _what_happened(code: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if code < 0:
        name = signal.Signals(-code).name
        hint = " The machine most likely ran out of memory; use smaller tiles." if -code == signal.SIGKILL else ""
        return f"was ended by {name}.{hint}"
    words = next((line for line in reversed(lines) if line.startswith("PDAL:")), lines[-1] if lines else "no words")
    return f"failed: {words.removeprefix('PDAL:').strip()}"
