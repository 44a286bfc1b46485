"""A certificate for a server on this machine, so that a stand-in can serve https."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Certificate:
    """The PEM files of a certificate and its private key. ``file`` is also the CA file of clients."""

    file: Path
    key_file: Path


def self_signed_certificate(folder: Path) -> Certificate:
    """Write a new certificate for this machine to a folder. It is valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    written = Certificate(folder / "certificate.pem", folder / "key.pem")
    written.file.write_bytes(certificate.public_bytes(Encoding.PEM))
    written.key_file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption_algorithm=NoEncryption())
    )
    return written
