"""Signs XML with an RSA key in this process, and verifies: RSA with SHA-256, both forms of `xml_signature`.

Pure but for reading key files once: keys and certificates come in, bytes go out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import NotConfigured, SignatureRefused, SigningFailed
from qaqpa.seal.xml_signature import (
    BASE64,
    DIGEST_SHA256,
    DS,
    ENVELOPED,
    EXCLUSIVE,
    INCLUSIVE,
    RSA,
    RSA_SHA256,
    SOAP,
    WSSE,
    WSU,
    X509_V3,
    canonical,
    ds,
    find,
    parse,
    refused,
)

SMALLEST_RSA = 2048

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


# --- RSA -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RsaSigner:
    """A `Signer` with an RSA key in this process."""

    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate
    trusted: tuple[x509.Certificate, ...]
    """Whose signatures are believed."""
    clock: Clock = utc_now
    enveloping: str = EXCLUSIVE
    """How the enveloped signatures that it makes are canonicalised."""

    async def enveloped(self, xml: bytes) -> bytes:
        """As `Signer`; at once, because a signature takes a millisecond."""
        return self.sign(xml, SignedPart.ROOT)

    async def wsse(self, soap: bytes) -> bytes:
        """As `Signer`."""
        return self.sign(soap, SignedPart.BODY)

    async def verify(self, xml: bytes, part: SignedPart) -> None:
        """As `Signer`."""
        self.require(xml, part)

    def sign(self, document: bytes, part: SignedPart) -> bytes:
        """The document with its signature. Raises SigningFailed."""
        if not _valid(self.certificate, self.clock()):
            raise SigningFailed("our own certificate for signing is not valid today: renew it; nothing was sent")
        try:
            return self._signed(parse(document), part)
        except SignatureRefused:
            raise SigningFailed("the message is not XML that can be signed; nothing was sent") from None

    def _signed(self, root: etree._Element, part: SignedPart) -> bytes:
        place, target, uri = self._place(root, part)
        how = self.enveloping if part is SignedPart.ROOT else EXCLUSIVE
        exclusive = how == EXCLUSIVE
        steps = [ENVELOPED, how] if part is SignedPart.ROOT else [how]
        digest = hashlib.sha256(canonical(target, exclusive=exclusive)).digest()
        signature = etree.Element(f"{{{DS}}}Signature", nsmap={"ds": DS})
        info = _signed_info(signature, uri, steps, digest, EXCLUSIVE if exclusive else INCLUSIVE)
        value = etree.SubElement(signature, f"{{{DS}}}SignatureValue")
        _key_info(signature, self.certificate.public_bytes(serialization.Encoding.DER), part)
        place.append(signature)
        value.text = _text(self.key.sign(canonical(info, exclusive=exclusive), padding.PKCS1v15(), SHA256()))
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")

    @staticmethod
    def _place(root: etree._Element, part: SignedPart) -> tuple[etree._Element, etree._Element, str]:
        if part is SignedPart.ROOT:
            if next(root.iter(*ds("Signature")), None) is not None:
                raise SigningFailed("the message holds a signature already; nothing was sent")
            return root, root, ""
        bodies = root.findall(f"{{{SOAP}}}Body")
        header = root.find(f"{{{SOAP}}}Header")
        if root.tag != f"{{{SOAP}}}Envelope" or len(bodies) != 1:
            raise SigningFailed("the message is not a SOAP 1.1 envelope with one body; nothing was sent")
        if header is None:
            header = etree.Element(f"{{{SOAP}}}Header")
            root.insert(0, header)
        identity = f"id-{uuid.uuid4()}"
        body = bodies[0]
        security = etree.SubElement(header, f"{{{WSSE}}}Security", nsmap={"wsse": WSSE})
        security.set(f"{{{SOAP}}}mustUnderstand", "1")
        body.set(f"{{{WSU}}}Id", identity)
        return security, body, f"#{identity}"

    def require(self, document: bytes, part: SignedPart) -> None:
        """Returns when one of `trusted` signed all of `part`. Raises SignatureRefused."""
        by_bytes = {each.public_bytes(serialization.Encoding.DER): each for each in self.trusted}
        found = find(document, part, RSA[part], by_bytes)
        certificate = by_bytes[found.certificate]
        if not _valid(certificate, self.clock()):
            raise refused("the signer's certificate is not valid today")
        content = canonical(found.content, exclusive=found.canonicalised == EXCLUSIVE, prefixes=found.prefixes)
        if not hmac.compare_digest(hashlib.sha256(content).digest(), found.digest):
            raise refused("the content was changed")
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_RSA:
            raise refused("the signer's key is not RSA, or too short")
        exclusive = found.info_canonicalised == EXCLUSIVE
        signed = canonical(found.signed_info, exclusive=exclusive, prefixes=found.info_prefixes)
        try:
            key.verify(found.value, signed, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise refused("the signature value is wrong") from None


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _signed_info(signature: etree._Element, uri: str, steps: list[str], digest: bytes, method: str) -> etree._Element:
    info = etree.SubElement(signature, f"{{{DS}}}SignedInfo")
    etree.SubElement(info, f"{{{DS}}}CanonicalizationMethod", Algorithm=method)
    etree.SubElement(info, f"{{{DS}}}SignatureMethod", Algorithm=RSA_SHA256)
    reference = etree.SubElement(info, f"{{{DS}}}Reference", URI=uri)
    transforms = etree.SubElement(reference, f"{{{DS}}}Transforms")
    for step in steps:
        etree.SubElement(transforms, f"{{{DS}}}Transform", Algorithm=step)
    etree.SubElement(reference, f"{{{DS}}}DigestMethod", Algorithm=DIGEST_SHA256)
    etree.SubElement(reference, f"{{{DS}}}DigestValue").text = _text(digest)
    return info


def _key_info(signature: etree._Element, certificate: bytes, part: SignedPart) -> None:
    info = etree.SubElement(signature, f"{{{DS}}}KeyInfo")
    if part is SignedPart.ROOT:
        data = etree.SubElement(info, f"{{{DS}}}X509Data")
        etree.SubElement(data, f"{{{DS}}}X509Certificate").text = _text(certificate)
        return
    reference = etree.SubElement(info, f"{{{WSSE}}}SecurityTokenReference", nsmap={"wsse": WSSE})
    attributes = {"EncodingType": BASE64, "ValueType": X509_V3}
    etree.SubElement(reference, f"{{{WSSE}}}KeyIdentifier", attributes).text = _text(certificate)


# --- keys ------------------------------------------------------------------------------------------


def load_certificates(path: str, what: str) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file. Raises NotConfigured."""
    try:
        found = x509.load_pem_x509_certificates(_read(path, what))
    except ValueError:
        raise NotConfigured(f"{what}: {path} holds no certificate in PEM") from None
    return tuple(found)


def load_rsa(key: str, certificate: str, trusted: str, *, password: str | None, clock: Clock = utc_now) -> RsaSigner:
    """A signer from PEM files. Raises NotConfigured with what is wrong."""
    try:
        private = _private_key(_read(key, "signer.key"), password)
    except (ValueError, TypeError):
        raise NotConfigured(f"signer.key: {key} is not a private key in PEM, or its password is another") from None
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < SMALLEST_RSA:
        raise NotConfigured(f"signer.key: {key} is not an RSA key of at least {SMALLEST_RSA} bits")
    own = load_certificates(certificate, "signer.certificate")[0]
    if own.public_key() != private.public_key():
        raise NotConfigured(f"signer.certificate: {certificate} is not the certificate of signer.key")
    return RsaSigner(private, own, load_certificates(trusted, "signer.trusted"), clock)


def _private_key(pem: bytes, password: str | None) -> PrivateKeyTypes:
    """Its primes are checked, which takes longer than all else of opening a gateway."""
    return serialization.load_pem_private_key(pem, None if password is None else password.encode())


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise NotConfigured(f"{what}: {path} cannot be read: {error.strerror}") from None
