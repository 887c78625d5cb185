"""Taking a worker away: from its machine, and from what this Mac side knows."""

import dataclasses
from dataclasses import dataclass

from hive.deploy import bundle, records
from hive.deploy.identity import revoke
from hive.deploy.ssh import Connection
from hive.deploy.ways import close_way
from hive.errors import UnreachableError
from hive.settings import Settings

_REMOVE_S = 300.0


@dataclass(frozen=True)
class Removed:
    """What was taken away; `left` says what is still on the machine and why, "" for nothing."""

    name: str
    destination: str
    left: str = ""


def remove(settings: Settings, name: str, *, is_gone: bool = False) -> Removed:
    """Stop a worker, remove all of it from its machine, revoke its identity and end its tunnel.

    With `is_gone` the machine is not asked: it is there no more. Where it does not answer, everything here is done, and
    the deployment stays known so that it can be removed again.

    Raises
    ------
    NotFoundError
        There is no such deployment.
    DeployError
        The machine answers and does not let its files go.
    """
    record = records.find_or_refuse(settings, name)
    left = ""
    if not is_gone:
        try:
            with Connection(record.destination, record.ssh_config) as connection:
                take_away(connection, name)
        except UnreachableError as error:
            left = str(error)
    close_way(settings, name)
    revoke(settings, name)
    if left:
        records.keep(settings, dataclasses.replace(record, is_left=True))
    else:
        records.forget(settings, name)
    return Removed(name, record.destination, left)


def take_away(connection: Connection, name: str) -> None:
    """Remove everything that a deployment has put on a machine."""
    values = {"HIVE_DEPLOY_NAME": name, "HIVE_DEPLOY_ACTION": "remove"}
    connection.run(bundle.script("control.sh"), values, timeout_s=_REMOVE_S)
