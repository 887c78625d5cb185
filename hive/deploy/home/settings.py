"""What the other machine is given of a home, and what stays here."""

from hive.deploy.identity import changed, toml
from hive.orchestrator.home import Home
from hive.orchestrator.keys import ELSEWHERE
from hive.orchestrator.users import identities, identity_file
from hive.settings import ROLES, Settings
from hive.terms import store_kind

# What Redis and the gateway heed.
_SHARED = ("lease_s", "max_attempts", "keep_days", "log_lines", "budget_usd_per_day", "budget_usd_per_month")
# Who signs here goes on signing here: access/submitter.key does not leave this machine.
_SECRETS = ("redis.password", "gateway.token", "access/gateway.key", "access/trusted.json")
_HEAD = "# Made by `hive home`. This folder is the HIVE_HOME of Redis and the gateway there.\n"


def home_files(settings: Settings, home: Home) -> dict[str, bytes]:
    """What goes into its folder there: passwords and keys of the gateway, identities of workers, and its settings."""
    names = [*_SECRETS, *(f"access/{role}.password" for role in ROLES if role != "admin")]
    files = [settings.home / name for name in names]
    files += [identity_file(settings, one.name) for one in identities(settings)]
    found = {f"home/{one.relative_to(settings.home).as_posix()}": one.read_bytes() for one in files}
    return found | {f"home/access/{ELSEWHERE}": b"", "home/config.toml": _config(settings, home)}


def keeps_files(settings: Settings) -> bool:
    """Whether the files of jobs are in the home, and so move with it."""
    return store_kind(settings.store) in ("folder", "gateway")


def _config(settings: Settings, home: Home) -> bytes:
    values: dict[str, object] = {"redis_port": home.ports[0], "gateway_port": home.ports[1]}
    values |= changed(settings, _SHARED)
    if not keeps_files(settings):
        values["store"] = settings.store
    return (_HEAD + "".join(f"{name} = {toml(value)}\n" for name, value in values.items())).encode()
