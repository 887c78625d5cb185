"""The Mac side in containers: what docker-compose.mac.yml mounts, made of the same things as `hive up --lan`."""

from pathlib import Path

from hive.errors import ServiceError
from hive.home import redis_server
from hive.home.keys import make_keys
from hive.home.network import GATEWAY, SERVER, open_in_containers
from hive.home.service import HOST
from hive.home.users import users
from hive.settings import Settings, containers_folder, opened_file, secret, tls_folder, write_private, write_setting

_CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
# The socket is for the healthcheck, in the container. Beyond maxmemory a job is refused with a reason; beyond the
# container's limit Redis would be killed.
_REDIS = """\
# Written by `hive access`; it is written again at each change of who may come in.
port 0
tls-port 6379
tls-cert-file /etc/hive/cert.pem
tls-key-file /etc/hive/key.pem
tls-ca-cert-file /etc/hive/ca.pem
tls-auth-clients yes
unixsocket /tmp/redis.sock
unixsocketperm 700
dir /data
maxmemory 480mb
{users}

{common}"""


def prepare(settings: Settings, name: str | None) -> None:
    """Make what is missing of this home's secrets, new certificates, and the folders that the containers read.

    Raises
    ------
    ServiceError
        `hive up` has started the Mac side of this home, now or earlier.
    """
    if redis_server.log_file(settings).parent.exists():
        raise ServiceError(f"{settings.home} is the home of a Mac side without containers. Name another: HIVE_HOME.")
    secret(settings.home / "gateway.token")
    settings.home.chmod(0o700)
    make_keys(settings)
    open_in_containers(settings, name)
    for setting, value in (
        ("redis_port", settings.redis_port),
        ("gateway_port", settings.gateway_port),
        ("gateway_url", f"https://{HOST}:{settings.gateway_port}"),
    ):
        write_setting(settings, setting, value)
    write(settings)
    if (client := redis_server.running_admin(settings)) is not None:
        for user in users(settings):
            user.apply(client)


def write(settings: Settings) -> None:
    """Write what the containers read. A folder stays what it is: containers that run see what is new in it."""
    folder = containers_folder(settings.home)
    _write_redis(settings, folder / "redis")
    _write_gateway(settings, folder / GATEWAY)
    for path in (folder, *folder.rglob("*/")):
        path.chmod(0o755)  # the home above stays closed
        let_read(path)


def let_read(folder: Path) -> None:
    """Let everybody read the files of a folder who gets to it: the users in containers are not this one."""
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(0o444)


def _write_redis(settings: Settings, folder: Path) -> None:
    lines = "\n".join(user.line for user in users(settings))
    write_private(folder / "redis.conf", _REDIS.format(users=lines, common=redis_server.COMMON_CONFIG.read_text()))
    _copy(settings.home / "access", folder, "submitter.password")
    _copy(tls_folder(settings.home) / SERVER, folder, *_CERTIFICATES)


def _write_gateway(settings: Settings, folder: Path) -> None:
    """Parts of a home: whoever may come in, and how the gateway shows who it is."""
    identities = [file.name for file in (settings.home / "access").glob("*.identity")]
    _copy(settings.home / "access", folder / "access", "gateway.password", "gateway.key", *identities)
    _copy(settings.home, folder / "access", "gateway.token")
    for file in (folder / "access").glob("*.identity"):
        if file.name not in identities:
            file.unlink()
    tls = tls_folder(settings.home)
    for name in (SERVER, GATEWAY):
        _copy(tls / name, folder / tls.name / name, *_CERTIFICATES)
    _copy(tls, folder / tls.name, opened_file(settings.home).name)


def _copy(source: Path, target: Path, *names: str) -> None:
    for name in names:
        write_private(target / name, (source / name).read_text())
