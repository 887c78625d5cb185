"""Files of a home whose presence decides where Redis is and who may reach it."""

from pathlib import Path


def tls_folder(home: Path) -> Path:
    """Where a home keeps its certificates."""
    return home / "tls"


def opened_file(home: Path) -> Path:
    """The file that exists while the Redis of a home is open to the network, and speaks TLS only."""
    return tls_folder(home) / "opened.json"


def moved_file(home: Path) -> Path:
    """The file that exists while the Redis and the gateway of a home are on another machine (`hive home HOST`)."""
    return home / "moved.json"


def containers_folder(home: Path) -> Path:
    """What the containers of the Mac side read; exists once `hive access containers` has made it."""
    return home / "containers"


def start_command(home: Path) -> str:
    """The command that starts the Mac side of a home."""
    return "docker compose -f docker-compose.mac.yml up -d" if containers_folder(home).exists() else "hive up"


def role_password(home: Path, role: str) -> Path:
    """The file with the Redis password of a role. The admin's is where an earlier Hive had its only one."""
    return home / ("redis.password" if role == "admin" else f"access/{role}.password")
