"""How much memory a volume needs, and how much this machine has."""

from pathlib import Path

import psutil

from hive.errors import InputError

# What a process took at its peak, for 1,927 to 14,824 blocks of 16^3 voxels and 9,665 of 8^3 (Open3D 0.20.0): 5 float32
# in the volume, 4 int32 while the surface is taken out, the surface itself and copies of it.
_BYTES_PER_VOXEL = 58
# Open3D 0.20.0 counts the bytes of a table of 16 B per voxel with 32 bits: 28,470 blocks of 16^3 voxels gave a surface,
# 33,517 ended the process by SIGSEGV.
_MOST_VOXELS = 2**31 // 16
_CGROUP = Path("/sys/fs/cgroup")


def needed_bytes(blocks: int, block: int) -> int:
    """Memory that so many blocks of block^3 voxels need [bytes].

    >>> needed_bytes(1927, 16) // 1_000_000
    457
    """
    return blocks * block**3 * _BYTES_PER_VOXEL


def available_bytes() -> int:
    """Memory that this process may still take [bytes]: the machine's, or less where a container is limited."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return min(free, int(limit) - int(used)) if limit.isdecimal() else free


def refuse_too_large(blocks: int, block: int, voxel: float) -> None:
    """Refuse a volume that does not fit into memory or Open3D's counters, before any of it is made.

    Raises
    ------
    InputError
        Says how much it needs, and which voxel would fit.
    """
    needed, available = needed_bytes(blocks, block), available_bytes()
    most = needed_bytes(1, block) * (_MOST_VOXELS // block**3)
    # A surface has blocks by the square of their number along an edge.
    fits = voxel * (needed / max(min(available, most), 1)) ** 0.5
    advice = f"About --voxel {fits:.2g} would fit; or take a smaller --depth-max."
    if needed > most:
        raise InputError(
            f"Voxels of {voxel:g} m need {blocks:,} blocks of {block}^3 voxels, {blocks * block**3:,} voxels; Open3D "
            f"takes {_MOST_VOXELS:,}. {advice}"
        )
    if needed > available:
        raise InputError(
            f"Voxels of {voxel:g} m need {blocks:,} blocks, {needed / 1e9:.3g} GB of memory; this worker has "
            f"{available / 1e9:.3g} GB. {advice}"
        )
