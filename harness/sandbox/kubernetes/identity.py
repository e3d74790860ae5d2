"""What makes a pod ours and only ours: names, a token, a certificate that both ends know beforehand, and the code inside."""

from __future__ import annotations

import datetime
import functools
import hashlib
import io
import re
import secrets
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.extras import require
from harness.sandbox.this_host import package_folder

_YEARS = 5


def pod_name(id: str) -> str:
    """Return what a sandbox's pod and secret are called: the same on every host, and never the same for two ids."""
    readable = re.sub(r"[^a-z0-9]+", "-", id.lower()).strip("-")[:40].strip("-")
    return f"sb-{readable or 'x'}-{hashlib.sha256(id.encode()).hexdigest()[:10]}"


def agent_user(id: str) -> int:
    """Return the user that commands run as: another in each sandbox, for what the kernel counts by user over a whole node."""
    return 2_000_000 + int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big") % 60_000_000


@dataclass(frozen=True)
class Credentials:
    """How the two ends know each other. PEM texts and a token of 64 hex digits."""

    certificate: str
    key: str
    token: str


def new_credentials(name: str) -> Credentials:
    """Make a token, and a key with a certificate signed by itself, which is all that the harness will take."""
    require("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # the node's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Credentials(certificate.public_bytes(encoding).decode(), private.decode(), secrets.token_hex(32))


@functools.cache
def service_code() -> bytes:
    """Return execd and what starts it, as an archive that Python imports from; the same bytes for the same code."""
    folder = Path(package_folder()) / "sandbox"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("sandbox/__init__.py"), "")
        for part in ("execd", "jail"):
            for path in sorted((folder / part).glob("*.py")):
                archive.writestr(zipfile.ZipInfo(f"sandbox/{part}/{path.name}"), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def service_name() -> str:
    """Return what the ConfigMap with that code is called: another name for other code."""
    return f"execd-{hashlib.sha256(service_code()).hexdigest()[:16]}"
