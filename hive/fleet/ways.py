"""Which way a new machine gets its worker, and what does not fit to it: said before anything is spent."""

from enum import StrEnum

from hive.errors import SettingError
from hive.fleet.first_start import AtFirstStart
from hive.fleet.installer import Installer
from hive.fleet.over_ssh import OverSsh
from hive.orchestrator.network import opened
from hive.settings import Settings


class Way(StrEnum):
    """Who goes to whom: this side to the machine, or the machine to this side."""

    SSH = "ssh"
    LAN = "lan"


def choose(settings: Settings, way: str | None, ssh_key: str, ssh_from: str) -> Installer:
    """The way that is wanted; where none is, that of `hive up --lan` if it was called so, and over ssh otherwise.

    Raises
    ------
    SettingError
        The way does not fit to this Hive, or to the other options; says what would.
    UnreachableError, DeployError
        What the way needs is not there.
    """
    wanted = Way(way) if way else Way.LAN if opened(settings) is not None else Way.SSH
    return _over_ssh(settings, ssh_from) if wanted is Way.SSH else _at_first_start(settings, ssh_key, ssh_from)


def _over_ssh(settings: Settings, ssh_from: str) -> Installer:
    if not ssh_from:
        raise SettingError(
            "Hive goes to these machines over ssh: say from where they let it in, by --ssh-from ADDRESS/32 with the "
            "address by which the internet knows you. It is what this says: curl https://checkip.amazonaws.com."
        )
    return OverSsh(settings)


def _at_first_start(settings: Settings, ssh_key: str, ssh_from: str) -> Installer:
    if opened(settings) is None:
        raise SettingError(
            "Rented machines cannot come to this Hive, which listens at 127.0.0.1 only. Leave --via lan away, and Hive "
            "goes to them; or open it: hive down, then hive up --lan --address NAME."
        )
    if bool(ssh_key) != bool(ssh_from):
        raise SettingError(
            "These machines come by themselves and let nobody in. To look around there, give both --ssh-key FILE.pub "
            "and --ssh-from ADDRESS/32; leave both away otherwise."
        )
    return AtFirstStart(settings)
