"""A certificate for a server on this machine, by a certificate authority of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dev.local_stack.ports import HOST

_AUTHORITY = "local authority"


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: ``file`` has the certificate of a server and its private key, ``ca_file`` is for clients."""

    file: Path
    ca_file: Path


def new_certificate(folder: Path) -> Certificate:
    """Write a certificate for this machine, by a new authority, to a folder. It is valid for a day."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_extensions = [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()),
    ]
    extensions = [
        x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
    ]
    authority = _sign(ca_key, _AUTHORITY, ca_key.public_key(), ca_extensions)
    certificate = _sign(ca_key, HOST, key.public_key(), extensions)
    written = Certificate(folder / "certificate.pem", folder / "ca.pem")
    written.ca_file.write_bytes(authority.public_bytes(Encoding.PEM))
    written.file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption_algorithm=NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return written


def _sign(
    ca_key: ec.EllipticCurvePrivateKey,
    name: str,
    key: ec.EllipticCurvePublicKey,
    extensions: Sequence[x509.ExtensionType],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(_AUTHORITY))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(ca_key, SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
