"""Hive's settings, each declared once: flags before environment before config.toml before the default."""

import dataclasses
import hashlib
import json
import os
import platform
import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from hive.errors import SettingError, did_you_mean
from hive.units import BYTE


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError("it must be a port, 1 to 65535")
    return number


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("it must be at least 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError("it must be 0 or more")
    return number


def _dollars(text: str) -> float:
    number = float(text.removeprefix("$"))
    if not 0 <= number < float("inf"):
        raise ValueError("it must be 0 or more US$")
    return number


def _moment(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("it must be a time with its zone, such as 2026-11-26T20:00:00Z")
    return time.astimezone(UTC)


def _lease(text: str) -> float:
    number = _seconds(text)
    if number < 1:
        raise ValueError("it must be at least 1 s")
    return number


# Kinds of stores that `hive.staging` can open.
_STORES = ("file", "http", "https", "s3", "gs", "az")


def _store(text: str) -> str:
    # Refused here, before a command has hashed gigabytes for a store that it cannot open.
    parts = urlsplit(text)
    if parts.scheme not in _STORES or not (parts.path if parts.scheme == "file" else parts.netloc):
        kinds = ", ".join(f"{name}://" for name in _STORES)
        raise ValueError(f"it must be file:///folder or another URL that begins with one of {kinds}")
    return text.rstrip("/")


def _web(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("it must be http://HOST:PORT or https://HOST:PORT")
    return text.rstrip("/")


def _bytes(text: str) -> int:
    number = int(BYTE.parse(text))
    if number < 1:
        raise ValueError("it must be at least 1 B")
    return number


def _command(text: str) -> str:
    shlex.split(text)
    return text


def _yes_or_no(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError("it must be 1 or 0, true or false")
    return words[text.lower()]


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


# Who a process of this Hive is to Redis: each has the rights that it needs and no others.
ROLES = ("submitter", "worker", "gateway", "admin")


def _role(text: str) -> str:
    if text not in ROLES:
        raise ValueError(f"it must be one of {', '.join(ROLES)}")
    return text


def _setting(
    variable: str,
    help: str,
    read: Callable[[str], object] = str,
    *,
    default: object = "",
    is_secret: bool = False,
) -> Any:  # noqa: ANN401  dataclasses.field has no better type
    metadata = {"variable": variable, "help": help, "read": read, "is_secret": is_secret}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All settings of this Hive. `origins` tells where each came from."""

    home: Path = _setting("HIVE_HOME", "Folder of this Hive: settings, passwords, store, cache.", _folder)
    broker_url: str = _setting("HIVE_BROKER_URL", "Redis that carries the jobs.", is_secret=True)
    password_file: Path = _setting(
        "HIVE_PASSWORD_FILE",
        "File with the password of Redis, where HIVE_BROKER_URL has none; by default of HIVE_ROLE, under HIVE_HOME.",
        _folder,
    )
    signing_key: Path = _setting(
        "HIVE_SIGNING_KEY_FILE",
        "File with the key that signs what is submitted; by default of HIVE_ROLE, under HIVE_HOME.",
        _folder,
    )
    trust_file: Path = _setting(
        "HIVE_TRUST_FILE",
        "Worker: file with the public keys of those whose jobs it runs; by default under HIVE_HOME.",
        _folder,
    )
    ca_file: Path | None = _setting(
        "HIVE_CA_FILE",
        "Certificate of the authority that vouches for a broker at rediss:// and a gateway at https://.",
        _folder,
        default=None,
    )
    cert_file: Path | None = _setting(
        "HIVE_CERT_FILE", "Certificate that is shown to a broker at rediss://.", _folder, default=None
    )
    key_file: Path | None = _setting("HIVE_KEY_FILE", "Key of HIVE_CERT_FILE.", _folder, default=None)
    role: str = _setting(
        "HIVE_ROLE",
        "Who this process is to the Redis of this home; hive gateway and workers set it by themselves.",
        _role,
        default="submitter",
    )
    gateway_url: str = _setting("HIVE_GATEWAY_URL", "Where the gateway of this Hive answers.", _web)
    token: str = _setting("HIVE_TOKEN", "What the gateway asks for; by default from HIVE_TOKEN_FILE.", is_secret=True)
    token_file: Path = _setting(
        "HIVE_TOKEN_FILE",
        "File with what the gateway asks for; by default gateway.token under HIVE_HOME.",
        _folder,
    )
    store: str = _setting(
        "HIVE_STORE",
        "Where files are kept by content: the gateway's /blob, or file:///…, s3://…, gs://…, az://….",
        _store,
    )
    redis_port: int = _setting("HIVE_REDIS_PORT", "Port of the Redis that `hive up` starts.", _port, default=6379)
    gateway_port: int = _setting("HIVE_GATEWAY_PORT", "Port of the gateway that `hive up` starts.", _port, default=8000)
    gateway_host: str = _setting(
        "HIVE_GATEWAY_HOST",
        "Address at which the gateway listens in plain text, beside that of `hive up --lan`.",
        default="127.0.0.1",
    )
    cache: Path = _setting("HIVE_CACHE", "Folder where a worker keeps the files it has fetched.", _folder)
    cache_max_bytes: int = _setting(
        "HIVE_CACHE_MAX_BYTES",
        "How much it keeps of them, the last used first, such as 50GB.",
        _bytes,
        default=50 * 10**9,
    )
    worker_capabilities: str = _setting("WORKER_CAPABILITIES", "What `hive worker` serves: gis=2,training=1.")
    max_concurrent_tasks: int = _setting(
        "MAX_CONCURRENT_TASKS",
        "Jobs at once of a capability that names no number.",
        _whole,
        default=os.cpu_count() or 1,
    )
    lease_s: float = _setting(
        "HIVE_LEASE_S", "A worker that is silent for that long has died [s].", _lease, default=15.0
    )
    max_attempts: int = _setting("HIVE_MAX_ATTEMPTS", "Starts that may die before a job is failed.", _whole, default=3)
    grace_s: float = _setting(
        "HIVE_GRACE_S",
        "Worker: time that running jobs have to finish when it is told to stop [s].",
        _seconds,
        default=30.0,
    )
    keep_days: float = _setting(
        "HIVE_KEEP_DAYS", "Days after which finished jobs are forgotten.", _seconds, default=30.0
    )
    log_lines: int = _setting(
        "HIVE_LOG_LINES", "Worker: newest lines of its log that are kept for a job.", _whole, default=5000
    )
    spot_notice: str = _setting(
        "HIVE_SPOT_NOTICE_URL", "Worker on a spot machine: where the notice of its end appears; empty: do not look."
    )
    trace_dir: Path | None = _setting(
        "HIVE_TRACE_DIR", "Worker: folder in which `hive submit test --trace` may write.", _folder, default=None
    )
    allow_scripts: bool = _setting(
        "HIVE_ALLOW_SCRIPTS",
        "Worker: 1 lets everybody who can submit run scripts of their own here, as this worker's user.",
        _yes_or_no,
        default=False,
    )
    preload: bool = _setting(
        "HIVE_PRELOAD",
        "Worker: 1 imports the libraries of its capabilities once for all processes of its pool, 0 in each of them.",
        _yes_or_no,
        default=True,
    )
    price_usd_per_h: float | None = _setting(
        "HIVE_PRICE_USD_PER_H",
        "Worker: what this machine costs [US$/h]; 0 says that it costs nothing, and without it nobody knows.",
        _dollars,
        default=None,
    )
    paid_since: datetime | None = _setting(
        "HIVE_PAID_SINCE",
        "Worker: since when this machine is paid for, as 2026-11-26T14:30:00Z; until its start that is its boot share.",
        _moment,
        default=None,
    )
    budget_usd_per_day: float | None = _setting(
        "HIVE_BUDGET_USD_PER_DAY",
        "Nothing more is sent or started on a day (UTC) on which so much is spent [US$].",
        _dollars,
        default=None,
    )
    budget_usd_per_month: float | None = _setting(
        "HIVE_BUDGET_USD_PER_MONTH", "The same for a calendar month (UTC) [US$].", _dollars, default=None
    )
    end_command: str = _setting(
        "HIVE_END_COMMAND",
        "Worker on a rented machine: the command that ends the machine; empty: the machine does not end itself.",
        _command,
    )
    end_when_idle_min: float = _setting(
        "HIVE_END_WHEN_IDLE_MIN",
        "Worker on a rented machine: it ends when it has had no job for that long [min]; 0: it does not.",
        _seconds,
        default=0.0,
    )
    expires_at: datetime | None = _setting(
        "HIVE_EXPIRES_AT",
        "Worker on a rented machine: when it ends in any case, such as 2026-11-26T20:00:00Z.",
        _moment,
        default=None,
    )
    machine_budget_usd: float = _setting(
        "HIVE_MACHINE_BUDGET_USD",
        "Worker on a rented machine: it ends when it has cost that much [USD]; 0: no limit.",
        _seconds,
        default=0.0,
    )
    fleet_package_url: str = _setting(
        "HIVE_FLEET_PACKAGE_URL",
        "What rented machines install that come by themselves (--via lan): https://… of a .whl or .tar.gz, #sha256=….",
    )
    fleet_capabilities: str = _setting(
        "HIVE_FLEET_CAPABILITIES", "What rented machines serve where nothing else is said.", default="gis,training"
    )
    fleet_report_s: float = _setting(
        "HIVE_FLEET_REPORT_S",
        "A rented machine whose worker has not reported after that time is ended [s].",
        _seconds,
        default=600.0,
    )
    fleet_gc_pause_s: float = _setting(
        "HIVE_FLEET_GC_PAUSE_S", "Time between the two looks of hive fleet gc [s].", _seconds, default=10.0
    )
    do_url: str = _setting(
        "HIVE_DO_URL", "Where DigitalOcean's API answers.", _web, default="https://api.digitalocean.com"
    )
    do_token_file: Path = _setting(
        "HIVE_DO_TOKEN_FILE",
        "File with the token of DigitalOcean, where DIGITALOCEAN_TOKEN is not set; by default under HIVE_HOME.",
        _folder,
    )
    do_machine_token_file: Path = _setting(
        "HIVE_DO_MACHINE_TOKEN_FILE",
        "File with a token that may only delete droplets, with which each ends itself; by default under HIVE_HOME.",
        _folder,
    )
    ssh_config: Path | None = _setting(
        "HIVE_SSH_CONFIG",
        "Settings of ssh that `hive deploy` and `hive fleet` use instead of your own (ssh -F).",
        _folder,
        default=None,
    )
    deploy_python: str = _setting(
        "HIVE_DEPLOY_PYTHON",
        "`hive deploy`: a Python on the other machine that has Hive's libraries; nothing is installed there then.",
    )
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def flags_as_environment(self) -> dict[str, str]:
        """What a process of this call must be told because it came as a flag; all else it finds by itself."""
        given = [one for one in VARIABLES if self.origins.get(one.name, "").startswith("flag ")]
        return {one.metadata["variable"]: str(getattr(self, one.name)) for one in given} | {"HIVE_HOME": str(self.home)}

    @property
    def config_file(self) -> Path:
        """The file of settings."""
        return self.home / "config.toml"


VARIABLES = tuple(one for one in dataclasses.fields(Settings) if one.metadata)


def load_settings(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Collect the settings for this process.

    Parameters
    ----------
    flags : values from the command line by field name; None and missing ones do not count
    environment : the variables; those of this process where none are given

    Raises
    ------
    SettingError
        A value cannot be used, config.toml is no TOML, or names a setting that does not exist.
    """
    given = {name: str(value) for name, value in (flags or {}).items() if value is not None}
    variables = os.environ if environment is None else environment
    home = _folder(given.get("home") or variables.get("HIVE_HOME") or "~/.hive")
    file = _read_config(home / "config.toml")
    values: dict[str, Any] = {"home": home}
    origins = {"home": _home_origin(given, variables)}
    for one in VARIABLES:
        if one.name == "home":
            continue
        for origin, text in (
            (f"flag --{one.name.replace('_', '-')}", given.get(one.name)),
            (f"environment {one.metadata['variable']}", variables.get(one.metadata["variable"])),
            (str(home / "config.toml"), file.get(one.name)),
        ):
            if text:
                values[one.name] = _read(one, text, origin, home)
                origins[one.name] = origin
                break
    return _with_derived(Settings(**values), origins)


def _home_origin(given: Mapping[str, str], variables: Mapping[str, str]) -> str:
    if given.get("home"):
        return "flag --home"
    return "environment HIVE_HOME" if variables.get("HIVE_HOME") else "default"


def _read(one: dataclasses.Field[Any], text: str, origin: str, home: Path) -> object:
    read = one.metadata["read"]
    if read is _folder and origin == str(home / "config.toml"):  # a home may be copied to another place
        text = str(home / Path(text).expanduser())
    try:
        return read(text)
    except ValueError as error:
        raise SettingError(f"{one.metadata['variable']} cannot be {text!r} ({origin}): {error}.") from error


def _read_config(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    import tomllib  # noqa: PLC0415  15 ms that most starts need not pay

    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}.") from error
    known = [one.name for one in VARIABLES if one.name != "home"]
    for name in table:
        if name not in known:
            raise SettingError(
                f"{path} has an unknown setting {name!r}. Known are: {', '.join(known)}.{did_you_mean(name, known)}"
            )
    return {name: str(value) for name, value in table.items()}


def keep_setting(settings: Settings, name: str, value: int | str) -> None:
    """Write one setting into config.toml, for all later commands of this Hive; the other lines stay as they are."""
    file = settings.config_file.resolve()  # a link into somebody's collection of settings stays a link
    lines = file.read_text().splitlines() if file.exists() else []
    new = f"{name} = {json.dumps(value)}"
    lines = [new if line.partition("=")[0].strip() == name else line for line in lines]
    lines += [] if new in lines else [new]
    write_private(file, "\n".join([*lines, ""]))


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read at any moment, and that is never seen half-written."""
    for folder in reversed([one for one in path.parents if not one.exists()]):
        folder.mkdir(exist_ok=True, mode=0o700)  # `parents=True` would leave those above open
    unfinished = path.with_suffix(f".{os.getpid()}.new")  # others may write the same file at this moment
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def secret(file: Path) -> str:
    """The secret that a file holds; made on first use, readable by its owner only."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def worker_token(token: str, name: str) -> str:
    """What a worker of that name shows to the gateway; it opens files and nothing else, and tells not the token."""
    return f"{name}.{hashlib.sha256(f'worker {name} {token}'.encode()).hexdigest()}"


def _with_derived(settings: Settings, origins: dict[str, str]) -> Settings:
    """Fill in what follows from other settings."""
    values: dict[str, Any] = {}
    for name, default in (
        ("password_file", role_password(settings)),
        ("token_file", settings.home / "gateway.token"),
        ("signing_key", settings.home / f"access/{settings.role}.key"),
        ("trust_file", settings.home / "access/trusted.json"),
        ("do_token_file", settings.home / "digitalocean.token"),
        ("do_machine_token_file", settings.home / "digitalocean-machine.token"),
    ):
        if name not in origins:
            values[name] = default
    if not settings.broker_url and opened_file(settings.home).exists():
        own = tls_folder(settings.home) / settings.role
        files = {"ca_file": own / "ca.pem", "cert_file": own / "cert.pem", "key_file": own / "key.pem"}
        values |= {name: file for name, file in files.items() if name not in origins}
    settings = dataclasses.replace(settings, **values)
    if not settings.broker_url:
        values["broker_url"], origins["broker_url"] = _local_broker(settings)
    elif "password_file" in origins:
        values["broker_url"] = _named_broker(settings)
    if not settings.token:
        values["token"], origins["token"] = _local_token(settings)
    if not settings.gateway_url:
        values["gateway_url"] = f"http://127.0.0.1:{settings.gateway_port}"
    if not settings.store:
        values["store"], origins["store"] = _default_store(settings)
    if "cache" not in origins:
        values["cache"] = settings.home / "cache"
    return dataclasses.replace(
        settings, **values, origins={one.name: origins.get(one.name, "default") for one in VARIABLES}
    )


def tls_folder(home: Path) -> Path:
    """Where a home keeps its certificates."""
    return home / "tls"


def opened_file(home: Path) -> Path:
    """The file that is there while the Redis of a home is open to the network, and speaks TLS only."""
    return tls_folder(home) / "opened.json"


def containers_folder(home: Path) -> Path:
    """What the containers of the Mac side read; there where `hive access containers` has made it."""
    return home / "containers"


def start_command(home: Path) -> str:
    """How the Mac side of a home is started."""
    return "docker compose -f docker-compose.mac.yml up -d" if containers_folder(home).exists() else "hive up"


def moved_file(home: Path) -> Path:
    """The file that is there while the Redis and the gateway of a home are on another machine (`hive home HOST`)."""
    return home / "moved.json"


def role_password(settings: Settings) -> Path:
    """The file with the password of this process' role. The admin's is where an earlier Hive kept its only one."""
    return settings.home / ("redis.password" if settings.role == "admin" else f"access/{settings.role}.password")


def _local_broker(settings: Settings) -> tuple[str, str]:
    """The Redis that `hive up` started under this home, or would start."""
    scheme = "rediss" if opened_file(settings.home).exists() else "redis"
    address = f"{scheme}://{settings.role}@127.0.0.1:{settings.redis_port}/0"
    password = _kept_secret(settings.password_file)
    return (_with_password(address, password), str(settings.password_file)) if password else (address, "default")


def _named_broker(settings: Settings) -> str:
    """The broker that is named, with the password from the file that is named too."""
    if urlsplit(settings.broker_url).password is not None:
        return settings.broker_url
    password = _kept_secret(settings.password_file)
    if not password:
        raise SettingError(f"HIVE_PASSWORD_FILE names {settings.password_file}, which is not there or is empty.")
    return _with_password(settings.broker_url, password)


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{address}").geturl()


def _local_token(settings: Settings) -> tuple[str, str]:
    """What the gateway of this home asks for; empty where it has not been started yet."""
    token = _kept_secret(settings.token_file)
    return (token, str(settings.token_file)) if token else ("", "default")


def _kept_secret(file: Path) -> str:
    """What a file of a secret holds; empty where it is not there yet."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{file} holds a secret and cannot be read: {error}.") from error


def _default_store(settings: Settings) -> tuple[str, str]:
    """The gateway's store. Where no gateway is named, this machine has it, and its folder is used without a detour."""
    if settings.gateway_url:
        return f"{settings.gateway_url}/blob", "HIVE_GATEWAY_URL"
    if moved_file(settings.home).exists():
        return f"http://127.0.0.1:{settings.gateway_port}/blob", str(moved_file(settings.home))
    return (settings.home / "store").as_uri(), "default"


def host_name() -> str:
    """The name by which this machine is known to people."""
    return platform.node() or "localhost"
