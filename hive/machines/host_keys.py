"""The ssh keys by which this Hive and its machines recognize each other, and the ssh config of each machine.

No host key is trusted on first use: the key of a machine is made here, and travels to it in the script of its first
start. Whoever can read that script, as the provider's account can, can pass for the machine.
"""

import shutil
from pathlib import Path

from hive.machines.records import Machine
from hive.settings import Settings, secret, write_private

USER = "hive"
# Before the user's own settings, of which jump hosts and proxies still apply: ssh takes the first value that it reads.
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


def own_key(settings: Settings) -> str:
    """The public key of this Hive, made at first use; every rented machine accepts it."""
    file = _own_file(settings)
    if not file.exists():
        private, public = _make_pair()
        write_private(file.with_suffix(".pub"), f"{public} hive\n")
        write_private(file, f"{private}\n")
    return secret(file.with_suffix(".pub"))


def make_host_key(settings: Settings, machine: Machine) -> tuple[str, str]:
    """Make the host key of a new machine, and record that it must show it; returns (private, public)."""
    private, public = _make_pair()
    write_private(_folder(settings, machine.name) / "known_hosts", f"{machine.name} {public}\n")
    return private, public


def write_ssh_config(settings: Settings, machine: Machine, address: str) -> Path:
    """Write the ssh config of a machine, in which its host name is the machine's name."""
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
    """Delete a machine's host key and ssh config."""
    shutil.rmtree(_folder(settings, name), ignore_errors=True)


def _make_pair() -> tuple[str, str]:
    """A new Ed25519 key pair as OpenSSH writes it: (private, public)."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  only where machines are rented
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  as above

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode().strip(), public.decode()


def _escaped(path: Path) -> str:
    """Ssh expands %."""
    return str(path).replace("%", "%%")


def _own_file(settings: Settings) -> Path:
    return settings.home / "fleet" / "ssh" / "key"


def _folder(settings: Settings, name: str) -> Path:
    return settings.home / "fleet" / "ssh" / f"{name}.machine"
