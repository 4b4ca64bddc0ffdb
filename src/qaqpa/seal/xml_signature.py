"""XML signatures (XMLDSig) of two forms, RSA with SHA-256: enveloped in a document's root, and WS-Security over a body.

Pure: keys and certificates come in, bytes go out. Verification is narrow on purpose: one signature, one reference, the
algorithms pinned here, a certificate that is pinned byte for byte; and what is verified is a part that stands in the
document once, where a reader looks for it, so no signature can be wrapped around something else. Comments, processing
instructions and document types are refused: canonicalisation and readers are not of one mind about them.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import NotConfigured, SignatureRefused, SigningFailed

DS = "http://www.w3.org/2000/09/xmldsig#"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE = f"{_OASIS}wssecurity-secext-1.0.xsd"
WSU = f"{_OASIS}wssecurity-utility-1.0.xsd"
X509_V3 = f"{_OASIS}x509-token-profile-1.0#X509v3"
BASE64 = f"{_OASIS}soap-message-security-1.0#Base64Binary"

EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
ENVELOPED = f"{DS}enveloped-signature"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
DIGEST_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"

SMALLEST_RSA = 2048
LARGEST = 16 * 1024 * 1024
"""Bytes of a document."""
_PREFIXES = re.compile(r"(?:#default|[A-Za-z_][\w.-]*)(?: (?:#default|[A-Za-z_][\w.-]*)){0,31}")
_ID_NAMES = frozenset({"id", "ID", "Id"})
etree.register_namespace("wsu", WSU)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Algorithms:
    """The only algorithms that a signature may name."""

    signature: frozenset[str]
    digest: frozenset[str]
    canonical: frozenset[str]


RSA = Algorithms(frozenset({RSA_SHA256}), frozenset({DIGEST_SHA256}), frozenset({EXCLUSIVE}))


@dataclass(frozen=True, slots=True)
class Found:
    """A signature whose form is right: where it stands and what it says. Whether it holds is not known yet."""

    signature: etree._Element
    signed_info: etree._Element
    certificate: bytes
    """DER; one of the pinned ones."""
    content: etree._Element
    """What it is over, as a document of its own, an enveloped signature taken out."""
    digest: bytes
    value: bytes
    prefixes: tuple[str, ...]
    """InclusiveNamespaces of the reference's transform."""
    info_prefixes: tuple[str, ...]


# --- reading ---------------------------------------------------------------------------------------


def refused(what: str) -> SignatureRefused:
    """The error for a signature that does not hold; `what` is a word of ours, never of the document."""
    return SignatureRefused(f"the signature is refused ({what}); have the signer say why, and believe nothing of it")


def parse(document: bytes) -> etree._Element:
    """The root of a document without anything that could be read in two ways. Raises SignatureRefused."""
    if len(document) > LARGEST or b"<!DOCTYPE" in document or b"\x00" in document:
        raise refused("too large, or a document type")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    root: etree._Element | None = None
    # The parser's own message quotes the document, so it is not even kept as a context.
    with suppress(etree.LxmlError, ValueError):
        root = etree.fromstring(document, parser)
    if root is None or root.getroottree().docinfo.internalDTD is not None:
        raise refused("not well-formed, or a document type")
    if any(not isinstance(node.tag, str) for node in root.iter()):
        raise refused("comments, processing instructions or entities")
    if root.getprevious() is not None or root.getnext() is not None:
        raise refused("something beside the root")
    return root


def canonical(node: etree._Element, *, exclusive: bool = True, prefixes: Iterable[str] = ()) -> bytes:
    """The node as a document of its own, canonicalised without comments."""
    # Written out and read again: lxml canonicalises a part of a tree with namespaces that are not visible there.
    whole = etree.fromstring(etree.tostring(node, with_tail=False))
    return etree.tostring(
        whole, method="c14n", exclusive=exclusive, with_comments=False, inclusive_ns_prefixes=list(prefixes) or None
    )


def _only(node: etree._Element, *tags: str) -> tuple[etree._Element, ...]:
    """The children, which must be exactly these, in order."""
    if [child.tag for child in node] != list(tags):
        raise refused(f"{etree.QName(node).localname} is not made as agreed")
    return tuple(node)


def _ds(*names: str) -> tuple[str, ...]:
    return tuple(f"{{{DS}}}{name}" for name in names)


def _bytes(node: etree._Element) -> bytes:
    """Base64 of a leaf, without anything else in it."""
    if len(node) or node.text is None:
        raise refused("a value is missing")
    try:
        return base64.b64decode("".join(node.text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise refused("a value is not base64") from None


def _prefix_list(node: etree._Element) -> tuple[str, ...]:
    """InclusiveNamespaces of an exclusive canonicalisation, if there are any."""
    if len(node) == 0:
        return ()
    (namespaces,) = _only(node, f"{{{EXCLUSIVE}}}InclusiveNamespaces")
    listed = namespaces.get("PrefixList", "")
    if not _PREFIXES.fullmatch(listed):
        raise refused("a list of prefixes is not one")
    return tuple(listed.split(" "))


def _at(root: etree._Element, part: SignedPart) -> tuple[etree._Element, etree._Element, str]:
    """The signature, the part it must be over, and the reference that says so. Each stands there once."""
    if part is SignedPart.ROOT:
        signatures = list(root.iter(*_ds("Signature")))
        if len(signatures) != 1 or signatures[0].getparent() is not root:
            raise refused("not one signature in the root")
        return signatures[0], root, ""
    names = [f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"]
    if root.tag != f"{{{SOAP}}}Envelope" or [child.tag for child in root] != names:
        raise refused("not an envelope of one header and one body")
    header, body = root
    if sum(1 for _ in root.iter(f"{{{SOAP}}}Body")) != 1:
        raise refused("more than one body")
    securities = list(root.iter(f"{{{WSSE}}}Security"))
    if len(securities) != 1 or securities[0].getparent() is not header:
        raise refused("not one security header")
    signatures = list(header.iter(*_ds("Signature")))
    if len(signatures) != 1 or signatures[0].getparent() is not securities[0]:
        raise refused("not one signature in the security header")
    identity = body.get(f"{{{WSU}}}Id")
    if not identity or [node for node in root.iter() if identity in _ids(node)] != [body]:
        raise refused("the body's Id is missing or stands twice")
    return signatures[0], body, f"#{identity}"


def _ids(node: etree._Element) -> list[str]:
    """Whatever some reader might take for the node's Id."""
    return [str(value) for name, value in node.attrib.items() if etree.QName(name).localname in _ID_NAMES]


def _certificate(key_info: etree._Element, part: SignedPart) -> bytes:
    if part is SignedPart.ROOT:
        data = _only(key_info, *_ds("X509Data"))[0]
        certificates = data.findall(f"{{{DS}}}X509Certificate")
        if len(certificates) != 1:
            raise refused("not one certificate")
        return _bytes(certificates[0])
    reference = _only(key_info, f"{{{WSSE}}}SecurityTokenReference")[0]
    identifier = _only(reference, f"{{{WSSE}}}KeyIdentifier")[0]
    if identifier.get("ValueType") != X509_V3 or identifier.get("EncodingType", BASE64) != BASE64:
        raise refused("the key is not identified by its certificate")
    return _bytes(identifier)


def find(document: bytes, part: SignedPart, allowed: Algorithms, trusted: Iterable[bytes]) -> Found:
    """The one signature over `part`, if its form is right and its certificate one of `trusted` (DER).

    Raises SignatureRefused.
    """
    root = parse(document)
    signature, target, uri = _at(root, part)
    signed_info, value, key_info = _only(signature, *_ds("SignedInfo", "SignatureValue", "KeyInfo"))
    canonicalisation, method, reference = _only(
        signed_info, *_ds("CanonicalizationMethod", "SignatureMethod", "Reference")
    )
    transforms, digest_method, digest = _only(reference, *_ds("Transforms", "DigestMethod", "DigestValue"))
    if reference.get("URI") != uri:
        raise refused("it is over something else")
    steps = [step.get("Algorithm", "") for step in _only(transforms, *_ds(*["Transform"] * len(transforms)))]
    if steps[:-1] != ([ENVELOPED] if part is SignedPart.ROOT else []):
        raise refused("other transforms than agreed")
    names = (canonicalisation.get("Algorithm", ""), steps[-1] if steps else "")
    if method.get("Algorithm") not in allowed.signature or not allowed.canonical.issuperset(names):
        raise refused("another algorithm than agreed")
    if digest_method.get("Algorithm") not in allowed.digest or len(method) or len(digest_method):
        raise refused("another digest than agreed")
    certificate = _certificate(key_info, part)
    if not any(hmac.compare_digest(certificate, each) for each in trusted):
        raise refused("the certificate is not one of those that are trusted")
    content = copy.deepcopy(target)
    content.tail = None
    if part is SignedPart.ROOT:
        _take_out(content, next(content.iter(*_ds("Signature"))))
    return Found(
        signature, signed_info, certificate, content, _bytes(digest), _bytes(value), _prefix_list(transforms[-1]),
        _prefix_list(canonicalisation),
    )  # fmt: skip


def _take_out(parent: etree._Element, child: etree._Element) -> None:
    """Remove a child and nothing else: what stands behind it stays."""
    before, tail = child.getprevious(), child.tail or ""
    if before is None:
        parent.text = (parent.text or "") + tail
    else:
        before.tail = (before.tail or "") + tail
    child.tail = None
    parent.remove(child)


# --- RSA -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RsaSigner:
    """A `Signer` with an RSA key in this process."""

    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate
    trusted: tuple[x509.Certificate, ...]
    """Whose signatures are believed."""
    clock: Clock = utc_now

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
            root = parse(document)
        except SignatureRefused:
            raise SigningFailed("the message is not XML that can be signed; nothing was sent") from None
        place, target, uri = self._place(root, part)
        steps = [ENVELOPED, EXCLUSIVE] if part is SignedPart.ROOT else [EXCLUSIVE]
        digest = hashlib.sha256(canonical(target)).digest()
        signature = etree.Element(f"{{{DS}}}Signature", nsmap={"ds": DS})
        info = _signed_info(signature, uri, steps, digest)
        value = etree.SubElement(signature, f"{{{DS}}}SignatureValue")
        _key_info(signature, self.certificate.public_bytes(serialization.Encoding.DER), part)
        place.append(signature)
        value.text = _text(self.key.sign(canonical(info), padding.PKCS1v15(), SHA256()))
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")

    @staticmethod
    def _place(root: etree._Element, part: SignedPart) -> tuple[etree._Element, etree._Element, str]:
        if part is SignedPart.ROOT:
            if next(root.iter(*_ds("Signature")), None) is not None:
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
        found = find(document, part, RSA, by_bytes)
        certificate = by_bytes[found.certificate]
        if not _valid(certificate, self.clock()):
            raise refused("the signer's certificate is not valid today")
        if not hmac.compare_digest(
            hashlib.sha256(canonical(found.content, prefixes=found.prefixes)).digest(), found.digest
        ):
            raise refused("the content was changed")
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_RSA:
            raise refused("the signer's key is not RSA, or too short")
        signed = canonical(found.signed_info, prefixes=found.info_prefixes)
        try:
            key.verify(found.value, signed, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            raise refused("the signature value is wrong") from None


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _signed_info(signature: etree._Element, uri: str, steps: list[str], digest: bytes) -> etree._Element:
    info = etree.SubElement(signature, f"{{{DS}}}SignedInfo")
    etree.SubElement(info, f"{{{DS}}}CanonicalizationMethod", Algorithm=EXCLUSIVE)
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
        private = serialization.load_pem_private_key(
            _read(key, "signer.key"), None if password is None else password.encode()
        )
    except (ValueError, TypeError):
        raise NotConfigured(f"signer.key: {key} is not a private key in PEM, or its password is another") from None
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < SMALLEST_RSA:
        raise NotConfigured(f"signer.key: {key} is not an RSA key of at least {SMALLEST_RSA} bits")
    own = load_certificates(certificate, "signer.certificate")[0]
    if own.public_key() != private.public_key():
        raise NotConfigured(f"signer.certificate: {certificate} is not the certificate of signer.key")
    return RsaSigner(private, own, load_certificates(trusted, "signer.trusted"), clock)


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise NotConfigured(f"{what}: {path} cannot be read: {error.strerror}") from None
