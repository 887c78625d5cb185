"""Survey many tables of rocks, in parts."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from hive.task import AnyInput, AnyOutput, in_parts, part
from hive.units import AtLeast, Help, Seconds
from hive_rocks import rocks
from hive_rocks.weigh import Weight, weigh
from hive_workers.test.probe import probe


@rocks.task
def survey(
    tables: list[AnyInput],
    report: AnyOutput,
    *,
    probes: Annotated[int, AtLeast(0), Help("Then probe the fleet so many times.")] = 0,
    seconds: Annotated[Seconds, AtLeast(0), Help("How long each probe takes.")] = 0.0,
    trace: Annotated[str | None, Help("Trace of the probes.")] = None,
    gate: Annotated[str | None, Help("Probe number 3 works until the file GATE.3 is in the trace folder.")] = None,
) -> Weight:
    """Weigh each table on its own, probe the fleet, and write one report."""
    with TemporaryDirectory(prefix=".survey-", dir=report.parent) as folder:
        pages = [Path(folder, f"{number}.txt") for number in range(len(tables))]
        weights = in_parts([part(weigh, [table], page) for table, page in zip(tables, pages, strict=True)])
        gates = [None if gate is None else f"{gate}.{number}" for number in range(probes)]
        in_parts([part(probe, seconds=seconds, trace=trace, gate=name, message=str(n)) for n, name in enumerate(gates)])
        report.write_text("".join(page.read_text() for page in pages))
    return Weight(sum(one.rocks for one in weights), sum(one.total_kg for one in weights))
