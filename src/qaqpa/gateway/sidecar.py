"""A signer outside this process: the operator's own signing service of NCANode's shape, for keys that are not RSA.

In Kazakhstan state services ask for GOST 34.10-2015, which needs a certified library. The service signs and computes
signatures; what a signature is over, where it stands and whose certificate made it is checked here, before it is asked,
because it looks for the first signature that it finds. It is reached through `transport` only, and what it gives back
must be what it was given, with a signature added.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import NotConfigured, NotSent, SignatureRefused, SigningFailed, ThirdPartyError, Unsettled
from qaqpa.ledger.ledger import Clock
from qaqpa.model.disclosure import Reply
from qaqpa.seal.xml_signature import (
    DIGEST_SHA256,
    DS,
    EXCLUSIVE,
    INCLUSIVE,
    INCLUSIVE_WITH_COMMENTS,
    RSA_SHA256,
    SOAP,
    WSSE,
    WSU,
    Algorithms,
    canonical,
    find,
    parse,
    refused,
)
from qaqpa.transport.https import Https

_GOST = "urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:"
_SIZES = ("256", "512")
ALGORITHMS = Algorithms(
    signature=frozenset({RSA_SHA256, *(f"{_GOST}gostr34102015-gostr34112015-{size}" for size in _SIZES)}),
    digest=frozenset({DIGEST_SHA256, *(f"{_GOST}gostr34112015-{size}" for size in _SIZES)}),
    # The library behind such services canonicalises inclusively.
    canonical=frozenset({EXCLUSIVE, INCLUSIVE, INCLUSIVE_WITH_COMMENTS}),
)
_NAMES = {SignedPart.ROOT: "xml", SignedPart.BODY: "wsse"}
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Container:
    """The PKCS#12 container that the service signs with."""

    content: str = field(repr=False)
    """Base64."""
    password: str = field(repr=False)
    alias: str | None

    @classmethod
    def load(cls, path: str, password: str, alias: str | None) -> Container:
        """From a file. Raises NotConfigured."""
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise NotConfigured(f"signer.key: {path} cannot be read: {error.strerror}") from None
        return cls(base64.b64encode(content).decode(), password, alias)

    @property
    def said(self) -> dict[str, str | None]:
        """As the service wants it."""
        return {"key": self.content, "password": self.password, "keyAlias": self.alias}


class Sidecar:
    """A `Signer` that asks the service."""

    def __init__(self, channel: Https, container: Container, trusted: Sequence[x509.Certificate], clock: Clock) -> None:
        self._channel = channel
        self._container = container
        self._trusted = {each.public_bytes(Encoding.DER): each for each in trusted}
        self._clock = clock

    async def close(self) -> None:
        """Let go of connections."""
        await self._channel.close()

    async def enveloped(self, xml: bytes) -> bytes:
        """As `Signer`: POST /xml/sign."""
        asked = {"xml": xml.decode(), "signers": [self._container.said], "clearSignatures": False, "trimXml": False}
        return await self._signed(xml, SignedPart.ROOT, asked)

    async def wsse(self, soap: bytes) -> bytes:
        """As `Signer`: POST /wsse/sign."""
        return await self._signed(
            soap, SignedPart.BODY, {"xml": soap.decode(), **self._container.said, "trimXml": False}
        )

    async def verify(self, xml: bytes, part: SignedPart) -> None:
        """As `Signer`: POST /xml/verify or /wsse/verify, once everything but the arithmetic is right."""
        found = find(xml, part, ALGORITHMS, self._trusted)
        certificate = self._trusted[found.certificate]
        if not certificate.not_valid_before_utc <= self._clock() <= certificate.not_valid_after_utc:
            raise refused("the signer's certificate is not valid today")
        # The service looks for these names as they are written, prefix and all, and takes the first.
        if found.signature.prefix != "ds" or (part is SignedPart.BODY and not _is_first(found.signature)):
            raise refused("it is not the one that the signing service would check")
        try:
            reply = await self._channel.post(
                f"{_NAMES[part]}_verify", orjson.dumps({"xml": xml.decode(), "revocationCheck": []}), _JSON
            )
        except (ThirdPartyError, UnicodeDecodeError) as error:
            raise Unsettled(
                f"the signing service cannot be asked about the answer's signature ({_code(error)})"
            ) from None
        said = _said(reply)
        if said is None:
            raise Unsettled("the signing service does not say whether the answer's signature holds; look at its log")
        if said.get("valid") is not True:
            raise refused("the signing service says that it does not hold")

    async def _signed(self, given: bytes, part: SignedPart, asked: dict[str, object]) -> bytes:
        name = f"{_NAMES[part]}_sign"
        try:
            reply = await self._channel.post(name, orjson.dumps(asked), _JSON)
        except ThirdPartyError as error:
            raise SigningFailed(f"the signing service cannot be reached ({error.code}); nothing was sent") from None
        said = _said(reply)
        text = None if said is None else said.get("xml")
        if not isinstance(text, str):
            raise SigningFailed(f"the signing service answered {name} without a signed message; nothing was sent")
        signed = text.encode()
        try:
            same = _unsigned(signed, part) == _unsigned(given, part)
        except SignatureRefused:
            same = False
        if not same:
            raise SigningFailed("the signing service gave back another message than it was given; nothing was sent")
        return signed


def _code(error: Exception) -> str:
    return error.code if isinstance(error, ThirdPartyError | NotSent) else type(error).__name__


def _said(reply: Reply) -> dict[str, object] | None:
    """The JSON object of a good answer; None for anything else."""
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    return said if reply.status == 200 and isinstance(said, dict) else None


def _is_first(signature: etree._Element) -> bool:
    root = signature.getroottree().getroot()
    reference = next(root.iter(f"{{{WSSE}}}SecurityTokenReference"))
    return next(root.iter(f"{{{DS}}}Signature")) is signature and reference.prefix == "wsse"


def _unsigned(document: bytes, part: SignedPart) -> bytes:
    """The document without what signing adds to it, canonical."""
    root = copy.deepcopy(parse(document))
    if part is SignedPart.ROOT:
        added = [child for child in root if child.tag == f"{{{DS}}}Signature"]
    else:
        added = list(root.iter(f"{{{WSSE}}}Security"))
        for body in root.iter(f"{{{SOAP}}}Body"):
            body.attrib.pop(f"{{{WSU}}}Id", "")
    for each in added:
        parent = each.getparent()
        if parent is not None:
            parent.remove(each)
    # A header that only held the signature.
    for header in root.findall(f"{{{SOAP}}}Header"):
        if len(header) == 0:
            root.remove(header)
    return canonical(root)
