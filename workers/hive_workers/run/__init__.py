"""Scripts of the user's own, where the owner of a worker allows them."""

from hive.task import Capability

run = Capability(
    "run",
    "Run a Python script of your own on a worker whose owner allows it.",
    programs=("uv",),
    extra="run",
    default="script",
)
