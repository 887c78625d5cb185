"""All errors that Hive raises on purpose, and the exit code of each.

HiveError                     1   base; `kind` is what a job's record carries
├── UsageError                2   refused before anything was sent
│   ├── BadParameterError         a value that the task does not accept
│   ├── BadFileError              a file that is missing, unreadable or of the wrong kind
│   ├── UnknownNameError          no such capability, task or parameter
│   └── SettingError              a setting that cannot be used
├── NotFoundError             3   no such job, price or history
├── UnreachableError          4   broker or store not reachable, or access refused
├── BudgetError               5   over budget: of the command, the day or the month
├── TaskDeclarationError      1   a task's author wrote a signature that Hive cannot read
├── CloudError                1   a provider could not rent or end a machine
├── ServiceError              1   a local service could not be started or stopped
├── DeployError               1   a machine cannot take a worker, or what was put there does not start
├── LedgerError               1   the ledger of jobs submitted from here cannot be read or written
├── UnreadableRecordError     1   a record that another process wrote is damaged, or of a newer Hive
├── JobStateError             1   a job is not in a state in which this can be done to it
├── JobFailedError            1   the job that was waited for failed
├── InputError                1   a file is readable, but the task cannot work on it
├── EngineError               1   a program that a task drives failed
├── ScriptError               1   a script of the user's own failed
├── NotAllowedError           1   the owner of the worker has not allowed this
├── StagingError              1   a file was damaged or lost on its way
├── StoppedError              1   a task has saved its state because its worker wants to stop
└── DividedError              1   a task has planned parts and waits for them
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar


class HiveError(Exception):
    """Something went wrong that the user can act on; the text says what and how."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"


class UsageError(HiveError):
    """The request cannot be carried out as given; nothing was sent."""

    exit_code = 2
    kind = "usage"


class BadParameterError(UsageError, ValueError):
    """A parameter has a value that the task does not accept."""

    kind = "bad-parameter"


class BadFileError(UsageError):
    """A file is missing, unreadable or not of the kind that the task reads."""

    kind = "bad-file"


class UnknownNameError(UsageError):
    """There is no capability, task or parameter of that name."""

    kind = "unknown-name"


class SettingError(UsageError):
    """A setting from the command line, environment or config.toml cannot be used."""

    kind = "bad-setting"


class NotFoundError(HiveError):
    """No job has that id; or there is no such price, or no history to predict from."""

    exit_code = 3
    kind = "not-found"


class UnreachableError(HiveError):
    """The broker or the store does not answer, or refuses access."""

    exit_code = 4
    kind = "unreachable"


class BudgetError(HiveError):
    """It would cost more than the budget of the command, of the day or of the month; nothing was sent or started."""

    exit_code = 5
    kind = "budget"


class TaskDeclarationError(HiveError):
    """The signature of a task holds something that Hive cannot turn into a schema."""

    kind = "bad-declaration"


class CloudError(HiveError):
    """A provider of machines has none to give, or could not do what was asked; nothing is left running."""

    kind = "cloud"


class ServiceError(HiveError):
    """A service on this machine could not be started or stopped."""

    kind = "service"


class DeployError(HiveError):
    """A machine cannot take a worker, or what was put there does not start."""

    kind = "deploy"


class LedgerError(HiveError):
    """The list of what was submitted from this machine cannot be read or written."""

    kind = "ledger"


class UnreadableRecordError(HiveError):
    """A record that another process wrote is damaged, or was written by a newer Hive."""

    kind = "unreadable-record"


class JobStateError(HiveError):
    """A job is not in a state in which this can be done to it: one that has ended cannot be cancelled."""

    kind = "job-state"


class JobFailedError(HiveError):
    """A job that the caller waited for ended as failed or cancelled."""

    kind = "job-failed"


class InputError(HiveError):
    """An input is readable, but holds nothing that the task can work on."""

    kind = "bad-input"


class EngineError(HiveError):
    """A program or library that a task drives (PDAL, say) failed; the text has its own words."""

    kind = "engine"


class ScriptError(HiveError):
    """A script of the user's own ended with an error, or was ended by a signal; the text has its last words."""

    kind = "script"


class NotAllowedError(HiveError):
    """The owner of the worker has not allowed this there; the text says how they would."""

    kind = "not-allowed"


class StagingError(HiveError):
    """A file is missing from the store, or what came does not have the digest that was asked for."""

    kind = "staging"


class StoppedError(HiveError):
    """A task ends early because its worker wants to stop; what it has saved goes to the next attempt."""

    kind = "stopped"


class DividedError(HiveError):
    """A task ends here because it has planned parts; it is called again when they are done. Let it pass.

    `plans` has the ids of the parts, for each time that the task has divided its work.
    """

    kind = "divided"

    def __init__(self, message: str, plans: Sequence[Sequence[str]]) -> None:
        super().__init__(message)
        self.plans = plans


def missing_library(extra: str, error: ModuleNotFoundError) -> ServiceError:
    """What is said where a library of an extra is not installed.

    >>> print(missing_library("aws", ModuleNotFoundError("", name="boto3")))
    aws needs boto3, which is not installed here. Install it: pip install 'boto3>=1.40'.
    """
    from importlib.metadata import requires  # noqa: PLC0415  40 ms that only this needs

    listed = [line.partition(";") for line in requires("hive-compute") or ()]
    requirements = [name.strip() for name, _, marker in listed if f'extra == "{extra}"' in marker.replace("'", '"')]
    command = " ".join(f"'{name}'" for name in requirements) or str(error.name)
    return ServiceError(f"{extra} needs {error.name}, which is not installed here. Install it: pip install {command}.")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Words that follow the list of known names, where one of them is close to what was written.

    >>> did_you_mean("gsi", ["gis", "test"])
    " Did you mean 'gis'?"
    >>> did_you_mean("seismics", ["gis", "test"])
    ''
    """
    from difflib import get_close_matches  # noqa: PLC0415  only a wrong name needs it

    close = get_close_matches(name.lower(), names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
