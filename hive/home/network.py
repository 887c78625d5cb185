"""A Hive open to the network: addresses, certificates, TLS."""

import ipaddress
import json
import shutil
import socket
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hive.errors import ServiceError
from hive.home.service import HOST
from hive.settings import ROLES, Settings, opened_file, tls_folder, write_private
from hive.wire.record import read_record

CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
_CA_KEY = "ca.key"
_CA_DAYS, _DAYS = 3650, 825  # of a server, no more than browsers and macOS accept
# A clock that is a little behind must not refuse what was made a moment ago.
_SLACK = timedelta(hours=1)


class Authority:
    """The authority of one home; made on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not (folder / CA).exists():
            self._make()
        self._key = _read_key(folder / _CA_KEY)
        self._certificate = x509.load_pem_x509_certificate((folder / CA).read_bytes())

    def _make(self) -> None:
        key = generate_private_key(SECP256R1())
        name = _named("Hive's own authority")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = (
            _builder(name, name, key, _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self._folder / _CA_KEY, _pem(key))
        write_private(self._folder / CA, made.public_bytes(serialization.Encoding.PEM).decode())

    def give(self, folder: Path, name: str, addresses: Sequence[str] = ()) -> None:
        """Write a certificate with its key, and that of the authority; with addresses, one for a server."""
        key = generate_private_key(SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if addresses else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_named(name), self._certificate.subject, key, _DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if addresses:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_address, addresses))), critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        write_private(folder / KEY, _pem(key))
        write_private(folder / CERT, made.public_bytes(serialization.Encoding.PEM).decode())
        write_private(folder / CA, (self._folder / CA).read_text())


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + timedelta(days=days))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _read_key(file: Path) -> EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)  # noqa: S101  nothing else is written there
    return key


def _pem(key: EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


SERVER = "server"
# What workers in containers call the Mac: docker-compose.worker.yml says which address that is.
MAC = "mac"
# What the containers of the Mac side call each other.
REDIS, GATEWAY = "redis", "gateway"
# TEST-NET-3 (RFC 5737): nothing is sent there; the question is by which of this machine's addresses it would be.
_ELSEWHERE = ("203.0.113.1", 9)


@dataclass(frozen=True)
class Opened:
    """What others call this machine, and the address at which it listens for them."""

    name: str
    address: str


def opened(settings: Settings) -> Opened | None:
    """How the Mac side is open to the network; None where it is not."""
    file = opened_file(settings.home)
    return read_record(Opened, file.read_bytes(), str(file)) if file.exists() else None


def open_to_network(settings: Settings, name: str | None) -> Opened:
    """Make what is needed to be open: an authority, a certificate for the servers, and one for each process here.

    Raises
    ------
    ServiceError
        The name is none of this machine.
    """
    name = name or _own_address()
    found = Opened(name, _address_of(name))
    _certify(settings, found, (name, found.address, HOST, "localhost", MAC))
    return found


def open_in_containers(settings: Settings, name: str | None) -> None:
    """The same for containers, which speak TLS always; which addresses lead to them, the compose file says."""
    earlier = opened(settings)
    found = Opened(name or (earlier.name if earlier else HOST), GATEWAY)
    _certify(settings, found, (found.name, HOST, "localhost", MAC, REDIS))


def _certify(settings: Settings, found: Opened, names: Iterable[str]) -> None:
    from hive.home.network import Authority  # noqa: PLC0415  100 ms that most starts need not pay

    authority = Authority(tls_folder(settings.home))
    authority.give(tls_folder(settings.home) / SERVER, found.name, list(dict.fromkeys(names)))
    for role in ROLES:
        authority.give(tls_folder(settings.home) / role, role)
    write_private(opened_file(settings.home), json.dumps(asdict(found)))


def close_to_network(settings: Settings) -> None:
    """Forget that it was open; the authority stays, so that what it has given is good again next time."""
    opened_file(settings.home).unlink(missing_ok=True)
    for name in (SERVER, *ROLES):
        shutil.rmtree(tls_folder(settings.home) / name, ignore_errors=True)


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError as error:
            raise ServiceError("This machine is in no network. Name an address: hive up --lan --address IP.") from error
        return str(probe.getsockname()[0])


def _address_of(name: str) -> str:
    try:
        address = socket.gethostbyname(name)
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise ServiceError(f"{name} is no address of this machine. Name one: hive up --lan --address IP.") from error
    if address in ("0.0.0.0", HOST):  # noqa: S104  refused
        raise ServiceError(f"{name} is not what others call this machine. Name that: hive up --lan --address IP.")
    return address
