"""The keys by which this Hive and its machines know each other, and what ssh is told of each machine.

Nobody is trusted at first sight: the key that a machine shows is made here, and travels to it in the script of its
first start. Who can read that script, as the provider's account can, could pass for the machine; or take it over.
"""

import shutil
from pathlib import Path

from hive.providers.machine import Machine
from hive.settings import Settings, secret, write_private

USER = "hive"
# Before the user's own settings, of which jump hosts and proxies are still read: the first that is found counts.
_SETTINGS = """\
Host {name}
  HostName {address}
  Port 22
  User {user}
  HostKeyAlias {name}
  HostKeyAlgorithms ssh-ed25519
  StrictHostKeyChecking yes
  UserKnownHostsFile "{known_hosts}"
  GlobalKnownHostsFile /dev/null
  KnownHostsCommand none
  UpdateHostKeys no
  VerifyHostKeyDNS no
  CanonicalizeHostname no
  IdentityFile "{key}"
  IdentitiesOnly yes
Match all
Include "{own}"
"""


def make_pair() -> tuple[str, str]:
    """A new pair of keys (Ed25519) as OpenSSH writes it: private, public."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  only where machines are rented
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  as above

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode().strip(), public.decode()


def own_key(settings: Settings) -> str:
    """The public key of this Hive, made at first use; every machine that is rented lets it in."""
    file = _own_file(settings)
    if not file.exists():
        private, public = make_pair()
        write_private(file.with_suffix(".pub"), f"{public} hive\n")
        write_private(file, f"{private}\n")
    return secret(file.with_suffix(".pub"))


def expect(settings: Settings, machine: Machine) -> tuple[str, str]:
    """Make the key that a new machine shall show, and write down that it must; returns private, public."""
    private, public = make_pair()
    write_private(_folder(settings, machine.name) / "known_hosts", f"{machine.name} {public}\n")
    return private, public


def ssh_config(settings: Settings, machine: Machine, address: str) -> Path:
    """The file of ssh's settings for a machine, in which it goes by its name."""
    folder = _folder(settings, machine.name)
    text = _SETTINGS.format(
        name=machine.name,
        address=address,
        user=USER,
        known_hosts=_escaped(folder / "known_hosts"),
        key=_escaped(_own_file(settings)),
        own=settings.ssh_config or "~/.ssh/config",
    )
    write_private(folder / "config", text)
    return folder / "config"


def forget(settings: Settings, name: str) -> None:
    """Forget a machine's key and address."""
    shutil.rmtree(_folder(settings, name), ignore_errors=True)


def _escaped(path: Path) -> str:
    """Ssh reads % as the beginning of something else."""
    return str(path).replace("%", "%%")


def _own_file(settings: Settings) -> Path:
    return settings.home / "fleet" / "ssh" / "key"


def _folder(settings: Settings, name: str) -> Path:
    return settings.home / "fleet" / "ssh" / f"{name}.machine"
