"""All settings, each declared once, by who reads them: clients and this Mac, workers, rented machines.

A new setting is one field here; loading, `hive config` and the reference in docs/ read the declaration.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hive.errors import SettingError, did_you_mean
from hive.settings import kinds
from hive.settings.kinds import Setting, setting


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ClientSettings:
    """Where Redis, the gateway and the store are, and how a process proves who it is."""

    home: Path = setting("HIVE_HOME", "Folder of this Hive: settings, secrets, files, cache.", kinds.path)
    role: str = setting(
        "HIVE_ROLE",
        "Redis user of this process; the gateway and workers set it automatically.",
        kinds.role,
        default="submitter",
    )
    broker_url: str = setting("HIVE_BROKER_URL", "Redis that carries the jobs.", is_secret=True)
    password_file: Path = setting(
        "HIVE_PASSWORD_FILE",
        "File with the Redis password, if HIVE_BROKER_URL has none; the default depends on HIVE_ROLE.",
        kinds.path,
        under_home="access/{role}.password",
    )
    signing_key: Path = setting(
        "HIVE_SIGNING_KEY_FILE",
        "File with the private key that signs submitted jobs; the default depends on HIVE_ROLE.",
        kinds.path,
        under_home="access/{role}.key",
    )
    ca_file: Path | None = setting(
        "HIVE_CA_FILE",
        "CA certificate that verifies a broker at rediss:// and a gateway at https://.",
        kinds.path,
        default=None,
    )
    cert_file: Path | None = setting(
        "HIVE_CERT_FILE", "Client certificate for a broker at rediss://.", kinds.path, default=None
    )
    key_file: Path | None = setting("HIVE_KEY_FILE", "Private key of HIVE_CERT_FILE.", kinds.path, default=None)
    gateway_url: str = setting("HIVE_GATEWAY_URL", "Address of the gateway API.", kinds.web_address)
    token: str = setting(
        "HIVE_TOKEN", "Bearer token for the gateway API; the default is read from HIVE_TOKEN_FILE.", is_secret=True
    )
    token_file: Path = setting(
        "HIVE_TOKEN_FILE", "File with the bearer token for the gateway API.", kinds.path, under_home="gateway.token"
    )
    store: str = setting(
        "HIVE_STORE",
        "Content-addressed file store: the gateway's /blob, or file:///…, s3://…, gs://…, az://….",
        kinds.store,
    )
    redis_port: int = setting("HIVE_REDIS_PORT", "Port of the Redis that `hive up` starts.", kinds.port, default=6379)
    gateway_port: int = setting(
        "HIVE_GATEWAY_PORT", "Port of the gateway that `hive up` starts.", kinds.port, default=8000
    )
    gateway_host: str = setting(
        "HIVE_GATEWAY_HOST",
        "Address at which the gateway listens unencrypted, besides that of `hive up --lan`.",
        default="127.0.0.1",
    )
    budget_usd_per_day: float | None = setting(
        "HIVE_BUDGET_USD_PER_DAY",
        "Daily budget (UTC): once it is spent, no job is sent and no machine rented [US$].",
        kinds.dollars,
        default=None,
    )
    budget_usd_per_month: float | None = setting(
        "HIVE_BUDGET_USD_PER_MONTH", "Budget for a calendar month (UTC) [US$].", kinds.dollars, default=None
    )


@dataclass(frozen=True, init=False, repr=False, eq=False)
class WorkerSettings:
    """What a worker serves, how long it waits, what it keeps, and what its machine costs."""

    worker_capabilities: str = setting(
        "WORKER_CAPABILITIES", "Capabilities that `hive worker` serves: gis=2,training=1."
    )
    max_concurrent_tasks: int = setting(
        "MAX_CONCURRENT_TASKS",
        "Concurrent jobs of each capability given without a number.",
        kinds.count,
        default=os.cpu_count() or 1,
    )
    trust_file: Path = setting(
        "HIVE_TRUST_FILE",
        "File with the public keys of those whose jobs the worker runs.",
        kinds.path,
        under_home="access/trusted.json",
    )
    cache: Path = setting(
        "HIVE_CACHE", "Folder for files that the worker has downloaded.", kinds.path, under_home="cache"
    )
    cache_max_bytes: int = setting(
        "HIVE_CACHE_MAX_BYTES",
        "Size limit of that cache, such as 50GB; the least recently used files are deleted first.",
        kinds.size_bytes,
        default=50 * 10**9,
    )
    lease_s: float = setting(
        "HIVE_LEASE_S", "A worker silent for that long is considered dead [s].", kinds.lease, default=15.0
    )
    max_attempts: int = setting(
        "HIVE_MAX_ATTEMPTS", "Attempts that may die with their worker before the job fails.", kinds.count, default=3
    )
    grace_s: float = setting(
        "HIVE_GRACE_S",
        "Time for running jobs to finish when the worker is told to stop [s].",
        kinds.duration,
        default=30.0,
    )
    keep_days: float = setting(
        "HIVE_KEEP_DAYS", "Days after which records of finished jobs are deleted.", kinds.duration, default=30.0
    )
    log_lines: int = setting("HIVE_LOG_LINES", "Newest log lines kept for each job.", kinds.count, default=5000)
    spot_notice: str = setting(
        "HIVE_SPOT_NOTICE_URL", "URL at which a spot machine announces its end; empty: it is not a spot machine."
    )
    trace_dir: Path | None = setting(
        "HIVE_TRACE_DIR", "Folder to which `hive submit test --trace` may write.", kinds.path, default=None
    )
    allow_scripts: bool = setting(
        "HIVE_ALLOW_SCRIPTS",
        "1: everybody who can submit may run their own scripts here, as the worker's user.",
        kinds.switch,
        default=False,
    )
    preload: bool = setting(
        "HIVE_PRELOAD",
        "1: import a capability's libraries once for all processes of the worker; 0: in each of them.",
        kinds.switch,
        default=True,
    )
    price_usd_per_h: float | None = setting(
        "HIVE_PRICE_USD_PER_H",
        "Price of the worker's machine [US$/h]; 0: it costs nothing; unset: unknown.",
        kinds.dollars,
        default=None,
    )
    paid_since: datetime | None = setting(
        "HIVE_PAID_SINCE",
        "Time since when the machine is billed, such as 2026-11-26T14:30:00Z; jobs share the cost of booting it.",
        kinds.moment,
        default=None,
    )
    end_command: str = setting(
        "HIVE_END_COMMAND",
        "Command with which a rented machine ends itself; empty: it does not.",
        kinds.command,
    )
    end_when_idle_min: float = setting(
        "HIVE_END_WHEN_IDLE_MIN",
        "Idle time after which a rented machine ends itself [min]; 0: never.",
        kinds.duration,
        default=0.0,
    )
    expires_at: datetime | None = setting(
        "HIVE_EXPIRES_AT",
        "Time at which a rented machine ends in any case, such as 2026-11-26T20:00:00Z.",
        kinds.moment,
        default=None,
    )
    machine_budget_usd: float = setting(
        "HIVE_MACHINE_BUDGET_USD",
        "Cost at which a rented machine ends itself [US$]; 0: no limit.",
        kinds.duration,
        default=0.0,
    )


@dataclass(frozen=True, init=False, repr=False, eq=False)
class MachineSettings:
    """How machines are rented and set up from here."""

    fleet_package_url: str = setting(
        "HIVE_FLEET_PACKAGE_URL",
        "Package that rented machines install themselves (--via lan): https://… of a .whl or .tar.gz, #sha256=….",
    )
    fleet_capabilities: str = setting(
        "HIVE_FLEET_CAPABILITIES", "Capabilities of rented machines, unless given.", default="gis,training"
    )
    fleet_report_s: float = setting(
        "HIVE_FLEET_REPORT_S",
        "A rented machine whose worker has not reported by then is ended [s].",
        kinds.duration,
        default=600.0,
    )
    fleet_gc_pause_s: float = setting(
        "HIVE_FLEET_GC_PAUSE_S", "Pause between the two passes of `hive fleet gc` [s].", kinds.duration, default=10.0
    )
    do_url: str = setting(
        "HIVE_DO_URL", "Address of DigitalOcean's API.", kinds.web_address, default="https://api.digitalocean.com"
    )
    do_token_file: Path = setting(
        "HIVE_DO_TOKEN_FILE",
        "File with a DigitalOcean API token, if DIGITALOCEAN_TOKEN is not set.",
        kinds.path,
        under_home="digitalocean.token",
    )
    do_machine_token_file: Path = setting(
        "HIVE_DO_MACHINE_TOKEN_FILE",
        "File with a DigitalOcean API token that may only delete droplets; each droplet ends itself with it.",
        kinds.path,
        under_home="digitalocean-machine.token",
    )
    ssh_config: Path | None = setting(
        "HIVE_SSH_CONFIG",
        "ssh configuration that `hive deploy` and `hive fleet` use instead of your own (ssh -F).",
        kinds.path,
        default=None,
    )
    deploy_python: str = setting(
        "HIVE_DEPLOY_PYTHON",
        "Python on the other machine that has Hive's libraries; `hive deploy` then installs nothing there.",
    )


@dataclass(frozen=True)
class Settings(MachineSettings, WorkerSettings, ClientSettings):
    """All settings of this Hive. `origins` says where each came from."""

    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def flags_as_environment(self) -> dict[str, str]:
        """What a child process must be given because it came as a flag; it finds everything else itself."""
        from_flags = [declared for declared in SETTINGS if self.origins.get(declared.name, "").startswith("flag ")]
        return {declared.variable: str(getattr(self, declared.name)) for declared in from_flags} | {
            "HIVE_HOME": str(self.home)
        }

    @property
    def config_file(self) -> Path:
        """The file of settings."""
        return self.home / "config.toml"


SETTINGS = tuple(
    Setting(name=declared.name, group=group, default=declared.default, **declared.metadata)
    for group, cls in (
        ("Clients and this Mac", ClientSettings),
        ("Workers", WorkerSettings),
        ("Other machines", MachineSettings),
    )
    for declared in dataclasses.fields(cls)
)


def find_setting(name: str) -> Setting:
    """The setting with that name in config.toml or in the environment.

    Raises
    ------
    SettingError
        There is none.
    """
    by_name = {alias: declared for declared in SETTINGS for alias in (declared.name, declared.variable.lower())}
    if name.lower() in by_name:
        return by_name[name.lower()]
    names = [declared.name for declared in SETTINGS]
    raise SettingError(f"No setting {name!r}. Settings: {', '.join(names)}.{did_you_mean(name, names)}")
