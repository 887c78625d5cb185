"""Writing meshes: binary glTF 2.0 (GLB) and PLY.

Open3D writes both, but keeps the numbers of a GLB as base64 text inside its JSON, a third larger, and
gives colours of sRGB where glTF wants linear ones, so that viewers show them too bright.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hive.task import replaced_atomically
from hive_workers.threed._triangles.surface import Surface, to_y_up

# Numbers of the glTF 2.0 specification, sections 3.6.2, 3.11 and 4.4.
_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
_VERTICES, _TRIANGLES = 34962, 34963
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


def write_mesh(surface: Surface, up: str, about: Mapping[str, Any], path: Path) -> None:
    """Write a GLB or a PLY, as the name's end says.

    Parameters
    ----------
    up : axis that points up, `z` or `-y`; a GLB says it, so that viewers stand it upright
    about : what a reader should know: unit, origin
    """
    whole = _glb(surface, up, about) if path.suffix.lower() == ".glb" else _ply(surface, {"up": up, **about})
    with replaced_atomically(path) as unfinished:
        unfinished.write_bytes(whole)


def _glb(surface: Surface, up: str, about: Mapping[str, Any]) -> bytes:
    views: dict[str, NDArray[Any]] = {"POSITION": surface.positions, "NORMAL": surface.normals}
    if surface.colours is not None:
        views["COLOR_0"] = _linear(surface.colours)
    views["corners"] = surface.corners.reshape(-1)
    binary = b"".join(np.ascontiguousarray(view).tobytes() for view in views.values())
    text = json.dumps(_description(surface, views, up, about), separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)  # a chunk is a multiple of 4 bytes; all views are already
    chunks = struct.pack("<II", len(text), _JSON_CHUNK) + text + struct.pack("<II", len(binary), _BINARY_CHUNK) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _description(
    surface: Surface, views: Mapping[str, NDArray[Any]], up: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON of a GLB: one mesh of triangles below one node that turns it upright."""
    accessors: list[dict[str, Any]] = []
    buffer_views: list[dict[str, Any]] = []
    start = 0
    for name, view in views.items():
        accessors.append(_accessor(name, view, len(buffer_views)))
        target = _TRIANGLES if name == "corners" else _VERTICES
        buffer_views.append({"buffer": 0, "byteOffset": start, "byteLength": view.nbytes, "target": target})
        start += view.nbytes
    attributes = {name: number for number, name in enumerate(views) if name != "corners"}
    turn = np.eye(4)
    turn[:3, :3] = to_y_up(up)
    return {
        "asset": {"version": "2.0", "generator": "Hive 3d-generation", "extras": dict(about)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "matrix": turn.T.ravel().tolist()}],  # glTF keeps matrices by column
        "meshes": [{"primitives": [{"attributes": attributes, "indices": len(views) - 1, "material": 0}]}],
        # Scanned surfaces are thin and open: seen from behind they should still be there.
        "materials": [{"doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
        "accessors": accessors,
        "bufferViews": buffer_views,
        "buffers": [{"byteLength": start}],
    }


def _accessor(name: str, view: NDArray[Any], number: int) -> dict[str, Any]:
    if name == "corners":
        return {"bufferView": number, "componentType": _UINT, "count": view.size, "type": "SCALAR"}
    if name == "COLOR_0":
        count = {"componentType": _USHORT, "normalized": True, "count": len(view), "type": "VEC4"}
        return {"bufferView": number} | count
    box = {"min": view.min(axis=0).tolist(), "max": view.max(axis=0).tolist()} if name == "POSITION" else {}
    return {"bufferView": number, "componentType": _FLOAT, "count": len(view), "type": "VEC3"} | box


def _linear(colours: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Colours of sRGB as linear light with 16 bits, opaque.

    References
    ----------
    IEC 61966-2-1:1999, the transfer function of sRGB.
    """
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    opaque = np.concatenate([linear, np.ones((len(linear), 1))], axis=1)
    return np.round(opaque * 65535).astype(np.uint16)


def _ply(surface: Surface, about: Mapping[str, Any]) -> bytes:
    """Binary PLY in the scan's own axes; what a reader should know stands in comments."""
    columns: list[tuple[str, str]] = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    if surface.colours is not None:
        columns += [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.empty(len(surface.positions), dtype=columns)
    values = np.concatenate([surface.positions, surface.normals], axis=1)
    for number, (name, _) in enumerate(columns[:6]):
        vertices[name] = values[:, number]
    if surface.colours is not None:
        for number, (name, _) in enumerate(columns[6:]):
            vertices[name] = np.round(surface.colours[:, number] * 255)
    faces = np.empty(len(surface.corners), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, surface.corners
    kinds = {"<f4": "float", "u1": "uchar"}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {name} {json.dumps(value)}" for name, value in about.items()),
        f"element vertex {len(vertices)}",
        *(f"property {kinds[kind]} {name}" for name, kind in columns),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + vertices.tobytes() + faces.tobytes()
