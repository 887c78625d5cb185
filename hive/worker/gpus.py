"""The GPUs that a worker may use, as NVIDIA's own program tells them."""

import csv
import logging
import os
import shutil
import subprocess

logger = logging.getLogger(__name__)
_PROGRAM = "nvidia-smi"
_TIMEOUT_S = 20.0  # a driver that was not in use takes some seconds to come up
_MIB_PER_GIB = 1024


def gpu_names() -> tuple[str, ...]:
    """Name and memory of each GPU, such as `NVIDIA A10G, 22.5 GiB`; empty where there is none.

    CUDA_VISIBLE_DEVICES says which of them this worker may use; empty or -1 means none.
    """
    program = shutil.which(_PROGRAM)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if program is None or visible in ("", "-1"):
        return ()
    chosen = [f"--id={visible}"] if visible else []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", *chosen]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)  # noqa: S603  no shell
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("%s does not tell the GPUs: %s", _PROGRAM, error)
        return ()
    return tuple(_named(row) for row in csv.reader(ended.stdout.splitlines(), skipinitialspace=True) if row)


def _named(row: list[str]) -> str:
    """One GPU; its memory in GiB, where the program knows it [MiB].

    >>> _named(["NVIDIA A10G", "23028"]), _named(["NVIDIA GB10", "[N/A]"])
    ('NVIDIA A10G, 22.5 GiB', 'NVIDIA GB10')
    """
    name, memory = row[0].strip(), row[-1].strip()
    return f"{name}, {int(memory) / _MIB_PER_GIB:.1f} GiB" if memory.isdecimal() else name
