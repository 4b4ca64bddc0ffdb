"""Keys for signing made on the spot, and a stand-in of the operator's signing service.

Keys are made once in a process and are worth nothing outside of tests.
"""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import secrets
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import SignatureRefused, SigningFailed
from qaqpa.seal.rsa_signer import RsaSigner
from qaqpa.seal.xml_signature import INCLUSIVE_WITH_COMMENTS
from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival, Examination, Sandbox


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key and its certificate, signed by itself."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def signer(self, *trusted: KeyPair) -> RsaSigner:
        """A signer with this key that believes `trusted`."""
        return RsaSigner(self.key, self.certificate, tuple(each.certificate for each in trusted))

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, folder: Path, name: str) -> None:
        """`<name>.pem` with the certificate and `<name>-key.pem` with the key, which only the owner can read."""
        (folder / f"{name}.pem").write_bytes(self.certificate_pem)
        path = folder / f"{name}-key.pem"
        path.touch(mode=0o600)
        path.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


@cache
def key_pair(name: str, *, days: int = 90) -> KeyPair:
    """The pair of this name; the same throughout a process. Negative `days` make one that has expired."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} (sandbox)")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .sign(key, SHA256())
    )
    return KeyPair(key, certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Examination):
    """What the service was asked."""

    name: str
    xml: bytes = b""


class SigningServiceSandbox(Sandbox[Asked]):
    """A stand-in of NCANode: its addresses and its JSON, but RSA signatures, because nobody can ship GOST ones."""

    paths = ("/wsse/sign", "/wsse/verify", "/xml/sign", "/xml/verify")

    def __init__(
        self,
        *,
        port: int = 0,
        directory: Path | None = None,
        log: Path | None = None,
        delay: float = 0.5,
        own: KeyPair | None = None,
        others: tuple[KeyPair, ...] = (),
    ) -> None:
        """It signs with `own` and knows the certificates of `others`."""
        super().__init__(port=port, directory=directory, log=log, delay=delay)
        self.own = own or key_pair("operator")
        self.others = others
        self.password = secrets.token_urlsafe(16)
        self.spoil: bytes | None = None
        """Answers to /sign are about this message instead of the one given; for tests."""

    def write_files(self, directory: Path) -> None:
        """Also the container that a gateway hands over with each message."""
        super().write_files(directory)
        closed = serialization.BestAvailableEncryption(self.password.encode())
        path = directory / "container.p12"
        path.touch(mode=0o600)
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(b"own", self.own.key, self.own.certificate, None, closed)
        )
        (directory / "trusted.pem").write_bytes(b"".join(each.certificate_pem for each in self.others))

    @property
    def environment(self) -> dict[str, str]:
        """What a recipient's `[signer]` refers to."""
        return {
            **{f"QAQPA_SIGNING_{path[1:].replace('/', '_').upper()}_URL": f"{self.url}{path}" for path in self.paths},
            "QAQPA_SIGNING_CA": str(self.ca_file),
            "QAQPA_SIGNING_NETWORKS": NETWORKS,
            "QAQPA_SIGNING_CONTAINER": str(self._file("container.p12")),
            "QAQPA_SIGNING_PASSWORD": self.password,
            "QAQPA_SIGNING_TRUSTED": str(self._file("trusted.pem")),
        }

    def examine(self, arrival: Arrival) -> Asked:
        """Check JSON, container and password."""
        asked = Asked(operation=arrival.path, name=arrival.path)
        try:
            said: dict[str, Any] = orjson.loads(arrival.body)
            asked = replace(asked, xml=str(said["xml"]).encode())
            if arrival.path.endswith("/sign"):
                who = said["signers"][0] if arrival.path == "/xml/sign" else said
                pkcs12.load_pkcs12(base64.b64decode(who["key"]), str(who["password"]).encode())
                if not hmac.compare_digest(str(who["password"]), self.password):
                    return replace(asked, problem="wrong password")
        except (ValueError, KeyError, TypeError, IndexError):
            return replace(asked, problem="not of the format, or another container or password")
        return asked

    def act(self, examination: Asked) -> None:
        """Nothing is kept."""

    def answer(self, examination: Asked, *, about: str | None) -> Answer:
        """Signed XML, or whether a signature holds."""
        if examination.problem is not None:
            return _json(400, {"status": 400, "message": examination.problem})
        part = SignedPart.ROOT if examination.name.startswith("/xml/") else SignedPart.BODY
        signer = replace(self.own.signer(*self.others), enveloping=INCLUSIVE_WITH_COMMENTS)  # as NCANode does
        if examination.name.endswith("/sign"):
            try:
                signed = _rewritten(signer.sign(self.spoil or examination.xml, part))
            except SigningFailed as error:
                return _json(500, {"status": 500, "message": str(error)})
            return _json(200, {"status": 200, "message": "OK", "xml": signed.decode()})
        try:
            signer.require(examination.xml, part)
        except SignatureRefused:
            return _json(200, {"status": 200, "message": "OK", "valid": False, "signers": []})
        return _json(200, {"status": 200, "message": "OK", "valid": True, "signers": [{"valid": True}]})


def _rewritten(signed: bytes) -> bytes:
    """As NCANode gives it back: written out anew, by a library that says more in the declaration."""
    root = etree.fromstring(signed)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=False)


def _json(status: int, said: dict[str, Any]) -> Answer:
    return Answer(status, orjson.dumps(said), "application/json")
