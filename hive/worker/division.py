"""A job that is done in parts: each part becomes a job of its own, and the whole waits for them without a slot."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hive.errors import DividedError, TaskDeclarationError
from hive.staging import BlobStore, Reference
from hive.store import JobStore
from hive.task import Part
from hive.task.parameter import Parameter
from hive.task.values import Json
from hive.wire.job import JobRecord, Specification, State
from hive.wire.signing import Signer
from hive.worker.files import download, store


class Division:
    """The parts of one job, for one of its attempts; a task may divide its work more than once."""

    def __init__(self, job_id: str, records: JobStore, blobs: BlobStore, max_attempts: int, signer: Signer) -> None:
        self._job_id = job_id
        self._records = records
        self._blobs = blobs
        self._max_attempts = max_attempts
        self._signer = signer
        self._plans: list[list[str]] = []

    def __call__(self, plan: Sequence[Part[Any]], /) -> list[Any]:
        """Submit the parts, or where they are done, download what they wrote and return what they measured.

        Raises
        ------
        DividedError
            Parts are still to be done; the attempt ends here.
        TaskDeclarationError
            This is not the plan that the task made before.
        """
        whole = self._records.get(self._job_id)
        specifications = [self._specification(whole, part) for part in plan]
        ids = [_part_id(self._job_id, len(self._plans), number, part) for number, part in enumerate(specifications)]
        self._refuse_another_plan(whole, ids)
        self._plans.append(ids)
        jobs = self._records.get_many(ids)
        if all(job is not None and job.state is State.SUCCEEDED for job in jobs):
            return [self._result(part, cast(JobRecord, job)) for part, job in zip(plan, jobs, strict=True)]
        new = [n for n, job in enumerate(jobs) if job is None]
        self._records.create_many(Specification.all_signed([(ids[n], specifications[n]) for n in new], self._signer))
        self._records.retry_many([job.id for job in jobs if job is not None and job.state.is_final])
        raise DividedError("The job waits for its parts.", self._plans)

    def _refuse_another_plan(self, whole: JobRecord, ids: list[str]) -> None:
        number = len(self._plans)
        if number < len(whole.plans) and list(whole.plans[number]) != ids:
            raise TaskDeclarationError(
                f"{whole.specification.task} came to another plan when it was called again. "
                "What it does before in_parts must depend on nothing but its parameters and files."
            )

    def _specification(self, whole: JobRecord, part: Part[Any]) -> Specification:
        task = part.task
        files = {parameter.name: parameter for parameter in (*task.reads, *task.writes)}
        values = task.check(part.values)
        outputs = {file.name: values[file.name] for file in task.writes if values[file.name] is not None}
        return Specification(
            capability=task.capability,
            task=task.wire_name,
            queue=whole.specification.queue,  # its workers may send nothing to another one
            parameters={name: cast(Json, value) for name, value in values.items() if name not in files},
            inputs={
                file.name: self._upload(file, values[file.name]) for file in task.reads if values[file.name] is not None
            },
            outputs={name: Path(str(path)).name for name, path in outputs.items()},
            limits=replace(task.limits, attempts=task.limits.attempts or self._max_attempts),
            priority=whole.specification.priority,
            parent=self._job_id,
        )

    def _upload(self, parameter: Parameter, value: object) -> Json:
        """Upload what a part reads; what this job has read itself is in the store already."""
        if isinstance(value, list):
            return [self._upload(parameter, item) for item in value]
        return str(store(self._blobs, Path(str(value))))

    def _result(self, part: Part[Any], job: JobRecord) -> Any:  # noqa: ANN401  the part's own type
        for name, text in job.outputs.items():
            download(self._blobs, Reference.parse(text), Path(str(part.values[name])))
        return part.task.result_from(job.measures)


def _part_id(job_id: str, plan: int, number: int, specification: Specification) -> str:
    """The same plan of the same job has the same parts, so that none of them is done twice."""
    return hashlib.sha256(f"{job_id}.{plan}.{number}.{specification.to_json()}".encode()).hexdigest()[:16]
