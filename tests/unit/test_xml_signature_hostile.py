"""No signature is believed that is not wholly as agreed: wrapped, swapped, of another algorithm, of another text."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
import xmlsec
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import SignatureRefused, SigningFailed
from qaqpa.seal.rsa_signer import RsaSigner
from qaqpa.seal.xml_signature import (
    DS,
    RSA,
    SOAP,
    WSSE,
    WSU,
    find,
)
from signed import (
    BODY,
    DOCUMENT,
    ENVELOPE,
    OURS,
    ROOT,
    SIGNED,
    SIGNER,
    STRANGER,
    both_parts,
    q,
    signed_by_xmlsec,
)

# --- hostile ---------------------------------------------------------------------------------------


def changed(part: SignedPart, change: Callable[[etree._Element], None]) -> bytes:
    root = etree.fromstring(SIGNED[part])
    change(root)
    return etree.tostring(root)


def _find(root: etree._Element, name: str, namespace: str = DS) -> etree._Element:
    found = root.find(f".//{q(namespace, name)}")
    assert found is not None
    return found


def wrap_root(root: etree._Element) -> None:
    """The signed document goes into an Object of the signature; another one stands where it is read."""
    signature = _find(root, "Signature")
    moved = etree.fromstring(SIGNED[ROOT])
    etree.SubElement(signature, q(DS, "Object")).append(moved)
    _find(root, "rows", "urn:x")[0].text = "98551.95"


def signed_part_beside(root: etree._Element) -> None:
    """The root's signature is over a part with an Id, and another part is read."""
    _find(root, "Reference").set("URI", "#part")
    root.set("Id", "part")


def body_moved_to_header(root: etree._Element) -> None:
    """The signed body is put away into the header, a new one takes its place without an Id."""
    header, body = root
    header.append(body)
    other = etree.SubElement(root, q(SOAP, "Body"))
    etree.SubElement(other, "amount").text = "98551.95"


def body_moved_and_named(root: etree._Element) -> None:
    header, body = root
    wrapper = etree.SubElement(header, "{urn:w}Wrapper")
    wrapper.append(body)
    other = etree.SubElement(root, q(SOAP, "Body"))
    other.set(q(WSU, "Id"), str(body.get(q(WSU, "Id"))))


def body_renamed_in_header(root: etree._Element) -> None:
    """As above, but the signed element is no longer called Body."""
    header, body = root
    identity = str(body.get(q(WSU, "Id")))
    kept = etree.SubElement(header, "{urn:w}Kept")
    kept.set("Id", identity)
    body[0][0][0].text = "98551.95"


def two_bodies(root: etree._Element) -> None:
    other = etree.SubElement(root, q(SOAP, "Body"))
    etree.SubElement(other, "amount").text = "98551.95"


def second_signature(root: etree._Element) -> None:
    signature = _find(root, "Signature")
    parent = signature.getparent()
    assert parent is not None
    parent.append(etree.fromstring(etree.tostring(signature)))


def without_signature(root: etree._Element) -> None:
    signature = _find(root, "Signature")
    parent = signature.getparent()
    assert parent is not None
    parent.remove(signature)


def attribute(name: str, value: str, key: str = "Algorithm") -> Callable[[etree._Element], None]:
    return lambda root: _find(root, name).set(key, value)


def text(name: str, value: str) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        _find(root, name).text = value

    return change


def other_certificate(root: etree._Element) -> None:
    """Whatever certificate stands there, the pinned ones decide."""
    der = base64.b64encode(STRANGER.certificate.public_bytes(serialization.Encoding.DER)).decode()
    for node in (*root.iter(q(DS, "X509Certificate")), *root.iter(q(WSSE, "KeyIdentifier"))):
        node.text = der


def second_reference(root: etree._Element) -> None:
    info = _find(root, "SignedInfo")
    info.append(etree.fromstring(etree.tostring(_find(root, "Reference"))))


def xpath_transform(root: etree._Element) -> None:
    step = etree.SubElement(_find(root, "Transforms"), q(DS, "Transform"))
    step.set("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
    etree.SubElement(step, q(DS, "XPath")).text = "not(ancestor-or-self::amount)"


MORE = "http://www.w3.org/2001/04/xmldsig-more#"
COMMON: dict[str, Callable[[etree._Element], None]] = {
    "no signature": without_signature,
    "two signatures": second_signature,
    "another certificate": other_certificate,
    "rsa-sha1": attribute("SignatureMethod", f"{DS}rsa-sha1"),
    "rsa-sha512": attribute("SignatureMethod", f"{MORE}rsa-sha512"),
    "hmac with the certificate for a key": attribute("SignatureMethod", f"{MORE}hmac-sha256"),
    "no algorithm": attribute("SignatureMethod", ""),
    "a digest of SHA-1": attribute("DigestMethod", f"{DS}sha1"),
    "canonicalised with comments": attribute(
        "CanonicalizationMethod", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"
    ),
    "canonicalised inclusively": attribute("CanonicalizationMethod", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),
    "a transform by XPath": xpath_transform,
    "two references": second_reference,
    "over something else": attribute("Reference", "#somewhere", "URI"),
    "over a file": attribute("Reference", "file:///etc/hostname", "URI"),
    "over all, by a pointer": attribute("Reference", "#xpointer(/)", "URI"),
    "another digest": text("DigestValue", base64.b64encode(bytes(32)).decode()),
    "no digest": text("DigestValue", ""),
    "another value": text("SignatureValue", base64.b64encode(bytes(256)).decode()),
    "a value that is not base64": text("SignatureValue", "%%%"),
    "no value": text("SignatureValue", ""),
}
WRAPPED = {
    "the signed document in an Object": (ROOT, wrap_root),
    "a part with an Id": (ROOT, signed_part_beside),
    "the body in the header": (BODY, body_moved_to_header),
    "the body in the header, its Id twice": (BODY, body_moved_and_named),
    "its Id on something else": (BODY, body_renamed_in_header),
    "two bodies": (BODY, two_bodies),
}
HOSTILE = {
    **{f"{part.value}: {name}": (part, change) for part in SignedPart for name, change in COMMON.items()},
    **WRAPPED,
}


@pytest.mark.parametrize(("part", "change"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_as_agreed_is_refused(part: SignedPart, change: Callable[[etree._Element], None]) -> None:
    with pytest.raises(SignatureRefused):
        SIGNER.require(changed(part, change), part)


@both_parts
@pytest.mark.parametrize(
    "algorithm", [xmlsec.constants.TransformRsaSha1, xmlsec.constants.TransformRsaSha512], ids=["sha1", "sha512"]
)
def test_a_true_signature_by_another_algorithm_is_refused(part: SignedPart, algorithm: object) -> None:
    document = {ROOT: DOCUMENT, BODY: ENVELOPE}[part]
    try:
        signed = signed_by_xmlsec(document, part, OURS, algorithm)
    except xmlsec.Error:  # some builds have no SHA-1 any more
        signed = SIGNED[part].replace(f"{MORE}rsa-sha256".encode(), f"{DS}rsa-sha1".encode())
    with pytest.raises(SignatureRefused, match="algorithm"):
        SIGNER.require(signed, part)


def test_an_hmac_keyed_with_the_public_certificate_is_refused() -> None:
    """Whoever reads the algorithm from the message and takes the certificate for a key would believe this."""
    root = etree.fromstring(DOCUMENT)
    signature = xmlsec.template.create(
        root, xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformHmacSha256, ns="ds"
    )
    root.append(signature)
    reference = xmlsec.template.add_reference(signature, xmlsec.constants.TransformSha256, uri="")
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    der = OURS.certificate.public_bytes(serialization.Encoding.DER)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataHmac, OURS.certificate_pem)
    context.sign(signature)
    data = etree.SubElement(etree.SubElement(signature, q(DS, "KeyInfo")), q(DS, "X509Data"))
    etree.SubElement(data, q(DS, "X509Certificate")).text = base64.b64encode(der).decode()
    with pytest.raises(SignatureRefused, match="another algorithm"):
        SIGNER.require(etree.tostring(root), ROOT)


@both_parts
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"58551.95", b"58551<!-- -->.95"),
        (b"58551.95", b"58551<?x?>.95"),
        (b"58551.95", b"58551&amp;.95"),
        (b"58551.95", b" 58551.95"),
        (b"<amount>58551", b"<amount a='1'>58551"),
    ],
    ids=["comment", "instruction", "entity", "space", "attribute"],
)
def test_a_text_that_two_readers_could_read_differently_is_refused(part: SignedPart, old: bytes, new: bytes) -> None:
    assert old in SIGNED[part]
    with pytest.raises(SignatureRefused):
        SIGNER.require(SIGNED[part].replace(old, new), part)


@both_parts
@pytest.mark.parametrize(
    "document",
    [b"", b"<a>", b"\x00", b"<a/>" * 2, b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b"<a/><!-- -->", b"<a>" * 100_000],
    ids=["empty", "open", "nul", "two roots", "document type", "a comment behind", "deep"],
)
def test_what_is_no_plain_document_is_refused(part: SignedPart, document: bytes) -> None:
    with pytest.raises(SignatureRefused):
        SIGNER.require(document, part)
    with pytest.raises(SigningFailed):
        SIGNER.sign(document, part)


@both_parts
def test_a_signature_of_the_other_form_does_not_count(part: SignedPart) -> None:
    other = BODY if part is ROOT else ROOT
    with pytest.raises(SignatureRefused):
        SIGNER.require(SIGNED[other], part)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_bit_changes_what_is_read_and_is_believed(data: st.DataObject) -> None:
    document = bytearray(SIGNED[ROOT])
    at = data.draw(st.integers(0, len(document) - 1))
    document[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        SIGNER.require(bytes(document), ROOT)
    except SignatureRefused:
        return
    # Only what canonicalisation does not see may differ: white space in tags, quotes, the declaration, the line's end.
    before, after = (find(each, ROOT, RSA[ROOT], _der(SIGNER)) for each in (SIGNED[ROOT], bytes(document)))
    assert etree.tostring(before.content, method="c14n") == etree.tostring(after.content, method="c14n")


def _der(signer: RsaSigner) -> list[bytes]:
    return [each.public_bytes(serialization.Encoding.DER) for each in signer.trusted]
