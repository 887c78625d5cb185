"""Tab completion: what a word of the command line may be, asked for by a shell while the user types.

Nothing is started and nothing is printed but names; what cannot be read within a moment gives no names.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from hive.errors import HiveError

if TYPE_CHECKING:
    from hive.settings import Settings

VARIABLE = "_HIVE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_PATIENCE_S = 3.0
_CONNECT_S = 0.5
_MOST_JOBS = 200
# A name and what a shell shows beside it; a function of the settings where it must be looked up.
Names = Mapping[str, str]


def answer(root: click.Command, instruction: str) -> int:
    """Do what a completion script asks for, such as `bash_complete`; returns the exit code."""
    shell, _, what = instruction.partition("_")
    completer = get_completion_class(shell)
    if completer is None or what not in ("complete", "source"):
        return 1
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # a shell would write it into the user's line
    signal.signal(signal.SIGALRM, lambda signum, frame: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    made = completer(root, {}, "hive", VARIABLE)
    try:
        text = made.source() if what == "source" else made.complete()
    except (HiveError, click.ClickException, OSError):
        text = ""
    click.echo(text)
    return 0


class Word(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A word that a command checks itself; `names` gives what it may be."""

    name = "text"

    def __init__(self, names: Callable[["Settings"], Names] | Iterable[str]) -> None:
        self._names = names

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Hand the word on as it is."""
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """The names that begin so."""
        if callable(self._names):
            from hive.settings import load_settings

            flags = ctx.find_root().params
            names = self._names(load_settings({name: flags.get(name) for name in ("home", "broker_url", "store")}))
        else:
            names = dict.fromkeys(self._names, "")
        return [CompletionItem(name, help=text or None) for name, text in names.items() if name.startswith(incomplete)]


class FileName(Word):
    """The name of a file, which the shell itself completes."""

    name = "file"

    def __init__(self, *, is_folder: bool = False) -> None:
        super().__init__(())
        self._type = "dir" if is_folder else "file"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """Let the shell look for files."""
        return [CompletionItem(incomplete, type=self._type)]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem[str]]":
    """Let the shell look for folders."""
    return [CompletionItem(incomplete, type="dir")]


def job_ids(*states: str) -> Word:
    """Ids of the newest jobs, in some states or in any."""

    def names(settings: "Settings") -> Names:
        if not _is_redis_there(settings):
            return {}
        from hive.store import JobFilter, JobStore, Listing
        from hive.store.connection import connect, reachable
        from hive.wire.job import State

        with reachable(settings):
            client = connect(settings)
            page = Listing(client, JobStore(client)).page(JobFilter(frozenset(map(State, states))), _MOST_JOBS)
        return {job.short_id: f"{job.state} {job.specification.task}" for job in page.jobs}

    return Word(names)


def states(settings: "Settings") -> Names:
    """States of jobs."""
    from hive.wire.job import State

    return dict.fromkeys(State, "")


def queues(settings: "Settings") -> Names:
    """Queues: those of all capabilities, and those that workers serve or jobs wait in."""
    names = capabilities(settings)
    if not _is_redis_there(settings):
        return names
    from hive.store import Registry
    from hive.store.connection import connect, reachable

    with reachable(settings):
        reports = Registry(connect(settings)).queues()
    return {**names, **{queue.name: f"{queue.queued} queued, {queue.running} running" for queue in reports}}


def _is_redis_there(settings: "Settings") -> bool:
    """Whether something listens there: found out sooner than the library of Redis is imported."""
    import socket
    from urllib.parse import urlsplit

    address = urlsplit(settings.broker_url)
    try:
        socket.create_connection((address.hostname or "localhost", address.port or 6379), _CONNECT_S).close()
    except OSError:
        return False
    return True


def capabilities(settings: "Settings") -> Names:
    """All capabilities that are known here."""
    from hive.catalog import all_capabilities

    return {capability.name: capability.summary for capability in all_capabilities()}


def tasks(settings: "Settings") -> Names:
    """All tasks that are known here."""
    from hive.catalog import all_tasks

    return {task.wire_name: task.summary for task in all_tasks()}


def identities(settings: "Settings") -> Names:
    """The identities of workers."""
    from hive.home import users

    return {identity.name: ", ".join(identity.queues) for identity in users.identities(settings)}


def deployed(settings: "Settings") -> Names:
    """The machines that have a worker of `hive deploy`."""
    from hive.remote import find_all

    return {record.destination: record.capabilities for record in find_all(settings)}


def rented(settings: "Settings") -> Names:
    """The rented machines that are running."""
    from hive.machines import Records

    return {machine.name: machine.resource_id for machine in Records(settings).alive()}


def machine_types(*providers: str) -> Word:
    """Types of machines of some providers, or of all."""

    def names(settings: "Settings") -> Names:
        from hive.costs.prices import offers

        return {
            offer.type: f"{offer.vcpus} vCPU, {offer.memory_gib:.0f} GiB{', ' + offer.gpu if offer.gpu else ''}"
            for offer in offers(settings.home)
            if not providers or offer.provider in providers
        }

    return Word(names)


def setting_names(settings: "Settings") -> Names:
    """All settings."""
    from hive.settings import SETTINGS

    return {setting.name: setting.help for setting in SETTINGS if setting.name != "home"}
