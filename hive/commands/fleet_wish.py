"""What `hive fleet up` and `hive fleet auto` are asked for alike, and what is refused of it at once."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hive.errors import BadFileError, SettingError

if TYPE_CHECKING:
    from hive.fleet import Wish
    from hive.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
MOST_HOURS = 720.0  # who wants a machine for longer than 30 days rents it elsewhere
# How machines get their worker, for `hive fleet up` and here.
WAY_OPTIONS = (
    click.option(
        "--via",
        type=click.Choice(["ssh", "lan"]),
        help="Hive goes to them over ssh, with a tunnel; or they come here [lan after hive up --lan, else ssh].",
    ),
    click.option("--ssh-from", metavar="ADDRESS/32", help="From where they let ssh in; nothing else ever is."),
    click.option(
        "--ssh-key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE.pub",
        help="Public key that lets you in too, as the image's administrator.",
    ),
)


def with_options(options: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Add options to a command, in their order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def wish_of(settings: "Settings", type_: str, asked: dict[str, Any]) -> "Wish":
    """What is wanted, from the options of a command; names that there are not are refused."""
    from hive.deploy.target import nodes_of
    from hive.fleet import Wish

    capabilities = asked["capabilities"] or settings.fleet_capabilities
    nodes_of(capabilities)  # names that there are not, or twice, are refused
    return Wish(
        type=type_,
        count=asked["count"],
        capabilities=capabilities.replace(" ", ""),
        hours=asked["hours"],
        idle_min=asked["idle_minutes"],
        is_spot=asked["is_spot"],
        budget_usd=asked["budget"],
        is_unknown_price_accepted=asked["accept_unknown_price"],
        disk_gb=asked["disk"],
        ssh_key=_public_key(asked["ssh_key"]),
        ssh_from=_network(asked["ssh_from"]),
    )


def _public_key(file: Path | None) -> str:
    """What a file of a public key holds; never that of a private one, which would go to the provider."""
    if file is None:
        return ""
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [\w+/=]+( [^\n]*)?", text):
        raise BadFileError(f"{file} holds no public key of ssh. Name the file that ends with .pub.")
    return text


def _network(text: str | None) -> str:
    """Where ssh is let in from, as every provider reads it."""
    from ipaddress import ip_network

    try:
        return str(ip_network(text)) if text else ""
    except ValueError as error:
        raise SettingError(f"--ssh-from is {text!r}: {error}. Write ADDRESS/32.") from error
