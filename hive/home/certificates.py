"""The certificate authority of one home, and the certificates that it issues.

Apart from `network`, because importing it takes 100 ms that most commands need not pay.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hive.settings import write_private

CA, CERT, KEY = "ca.pem", "cert.pem", "key.pem"
_CA_KEY = "ca.key"
_CA_DAYS, _DAYS = 3650, 825  # browsers and macOS accept no more for a server
# A clock that is a little behind must not refuse a new certificate.
_CLOCK_SLACK = timedelta(hours=1)


class CertificateAuthority:
    """Issues certificates; its own key is made on first use."""

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
        certificate = (
            _builder(name, name, key, _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(self._folder / _CA_KEY, _pem(key))
        write_private(self._folder / CA, certificate.public_bytes(serialization.Encoding.PEM).decode())

    def issue(self, folder: Path, name: str, addresses: Sequence[str] = ()) -> None:
        """Write a certificate with its key, and the authority's certificate; with addresses, one for a server."""
        key = generate_private_key(SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if addresses else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_named(name), self._certificate.subject, key, _DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if addresses:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_address, addresses))), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        write_private(folder / KEY, _pem(key))
        write_private(folder / CERT, certificate.public_bytes(serialization.Encoding.PEM).decode())
        write_private(folder / CA, (self._folder / CA).read_text())


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
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
