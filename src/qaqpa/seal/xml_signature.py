"""The form of XML signatures (XMLDSig): enveloped in a document's root, and WS-Security over the body of an envelope.

Whether one holds is for who has the arithmetic (`rsa_signer`, a signing service); here is looked at what it is over,
where it stands and whose certificate it names. Pure, and narrow on purpose: one signature, one reference, algorithms
from a short list, a certificate that is pinned byte for byte; and what is verified is a part that stands in the
document once, where a reader looks for it, so no signature can be wrapped around something else. Comments, processing
instructions and document types are refused: canonicalisation and readers are not of one mind about them.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hmac
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import SignatureRefused

DS = "http://www.w3.org/2000/09/xmldsig#"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE = f"{_OASIS}wssecurity-secext-1.0.xsd"
WSU = f"{_OASIS}wssecurity-utility-1.0.xsd"
X509_V3 = f"{_OASIS}x509-token-profile-1.0#X509v3"
BASE64 = f"{_OASIS}soap-message-security-1.0#Base64Binary"

EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
INCLUSIVE_WITH_COMMENTS = f"{INCLUSIVE}#WithComments"
"""What differs with comments never comes here: they are refused."""
ENVELOPED = f"{DS}enveloped-signature"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
DIGEST_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"

LARGEST = 16 * 1024 * 1024
"""Bytes of a document."""
_PREFIXES = re.compile(r"(?:#default|[A-Za-z_][\w.-]*)(?: (?:#default|[A-Za-z_][\w.-]*)){0,31}")
_ID_NAMES = frozenset({"id", "ID", "Id"})
etree.register_namespace("wsu", WSU)


@dataclass(frozen=True, slots=True)
class Algorithms:
    """The only algorithms that a signature may name."""

    signature: frozenset[str]
    digest: frozenset[str]
    canonical: frozenset[str]


RSA: Mapping[SignedPart, Algorithms] = MappingProxyType(
    {
        # The libraries of Kazakhstan's certification centre, and services built on them, envelop inclusively. A root
        # has nothing around it that it could inherit; a body has.
        SignedPart.ROOT: Algorithms(
            frozenset({RSA_SHA256}),
            frozenset({DIGEST_SHA256}),
            frozenset({EXCLUSIVE, INCLUSIVE, INCLUSIVE_WITH_COMMENTS}),
        ),
        SignedPart.BODY: Algorithms(frozenset({RSA_SHA256}), frozenset({DIGEST_SHA256}), frozenset({EXCLUSIVE})),
    }
)


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
    canonicalised: str
    """How the content is canonicalised."""
    info_canonicalised: str
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
    """The node as a document of its own, canonicalised without comments.

    Raises SignatureRefused for what has no canonical form (a namespace that is a relative address).
    """
    # Written out and read again: lxml canonicalises a part of a tree with namespaces that are not visible there.
    whole = etree.fromstring(etree.tostring(node, with_tail=False))
    with suppress(etree.C14NError):
        return etree.tostring(
            whole, method="c14n", exclusive=exclusive, with_comments=False, inclusive_ns_prefixes=list(prefixes) or None
        )
    raise refused("it has no canonical form")


def _only(node: etree._Element, *tags: str) -> tuple[etree._Element, ...]:
    """The children, which must be exactly these, in order."""
    if [child.tag for child in node] != list(tags):
        raise refused(f"{etree.QName(node).localname} is not made as agreed")
    return tuple(node)


def ds(*names: str) -> tuple[str, ...]:
    """Names in the namespace of signatures."""
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
        signatures = list(root.iter(*ds("Signature")))
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
    signatures = list(header.iter(*ds("Signature")))
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
        data = _only(key_info, *ds("X509Data"))[0]
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
    signed_info, value, key_info = _only(signature, *ds("SignedInfo", "SignatureValue", "KeyInfo"))
    canonicalisation, method, reference = _only(
        signed_info, *ds("CanonicalizationMethod", "SignatureMethod", "Reference")
    )
    transforms, digest_method, digest = _only(reference, *ds("Transforms", "DigestMethod", "DigestValue"))
    if reference.get("URI") != uri:
        raise refused("it is over something else")
    steps = [step.get("Algorithm", "") for step in _only(transforms, *ds(*["Transform"] * len(transforms)))]
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
        _take_out(content, next(content.iter(*ds("Signature"))))
    return Found(
        signature, signed_info, certificate, content, _bytes(digest), _bytes(value), names[1], names[0],
        _prefix_list(transforms[-1]), _prefix_list(canonicalisation),
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
