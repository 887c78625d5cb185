"""Child of an attempt that runs one PDAL pipeline: `python -m hive_workers.gis.pdal_child PIPELINE METADATA`.

It uses PDAL's Python package where that can be imported, and otherwise becomes the `pdal` program. Either way a crash
of PDAL ends this process and not the worker.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Run the pipeline; exit code 1 with PDAL's own words on stderr where it fails."""
    pipeline, metadata = sys.argv[1:3]
    _end_with_parent()
    try:
        import pdal
    except ImportError:
        os.execvp("pdal", ["pdal", "pipeline", pipeline, "--metadata", metadata])  # noqa: S606, S607  found by PATH
    try:
        run = pdal.Pipeline(Path(pipeline).read_text())
        run.execute()
    except RuntimeError as error:
        sys.exit(f"PDAL: {error}")
    # A dictionary since pdal 3.1, JSON text before.
    metadata_of_run = run.metadata if isinstance(run.metadata, dict) else json.loads(run.metadata)
    Path(metadata).write_text(json.dumps({"stages": metadata_of_run["metadata"]}))


def _end_with_parent() -> None:
    """Ask Linux to end this process when its worker is killed; an orphan would compute on for nobody."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
