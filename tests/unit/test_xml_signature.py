"""XML signatures: made as xmlsec reads them and read as xmlsec makes them; certificates and keys."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import xmlsec
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.errors import NotConfigured, SignatureRefused, SigningFailed
from qaqpa.seal.rsa_signer import RsaSigner, load_rsa
from qaqpa.seal.xml_signature import (
    DS,
    INCLUSIVE_WITH_COMMENTS,
    SOAP,
    WSSE,
    WSU,
    X509_V3,
)
from qaqpa.testing.signing import KeyPair, key_pair
from signed import (
    BODY,
    DOCUMENT,
    ENVELOPE,
    OURS,
    ROOT,
    SIGNED,
    SIGNER,
    STRANGER,
    THEIRS,
    both_parts,
    q,
    signed_by_xmlsec,
)

# --- with an independent implementation ------------------------------------------------------------


def verified_by_xmlsec(document: bytes, pair: KeyPair) -> bool:
    root = etree.fromstring(document)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(pair.certificate_pem, xmlsec.constants.KeyDataFormatCertPem)
    body = root.find(q(SOAP, "Body"))
    if body is not None:
        context.register_id(body, "Id", WSU)
    try:
        context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))
    except xmlsec.Error:
        return False
    return True


@both_parts
def test_xmlsec_verifies_what_we_sign(part: SignedPart) -> None:
    assert verified_by_xmlsec(SIGNED[part], OURS)
    assert not verified_by_xmlsec(SIGNED[part], STRANGER)
    assert not verified_by_xmlsec(SIGNED[part].replace(b"58551.95", b"98551.95"), OURS)


@both_parts
def test_we_verify_what_xmlsec_signs(part: SignedPart) -> None:
    document = signed_by_xmlsec({ROOT: DOCUMENT, BODY: ENVELOPE}[part], part, THEIRS)
    OURS.signer(STRANGER, THEIRS).require(document, part)
    with pytest.raises(SignatureRefused, match="trusted"):
        OURS.signer(STRANGER).require(document, part)
    with pytest.raises(SignatureRefused, match="changed"):
        OURS.signer(THEIRS).require(document.replace(b"58551.95", b"98551.95"), part)


INCLUSIVELY = [xmlsec.constants.TransformInclC14N, xmlsec.constants.TransformInclC14NWithComments]


@pytest.mark.parametrize("how", INCLUSIVELY, ids=["inclusive", "inclusive with comments"])
def test_an_enveloped_signature_may_be_canonicalised_inclusively(how: object) -> None:
    inside = DOCUMENT.replace(b"<data ", b'<data xmlns:unused="urn:u" ')
    signed = signed_by_xmlsec(inside, ROOT, THEIRS, how=how)
    OURS.signer(THEIRS).require(signed, ROOT)
    for old, new in ((b"58551.95", b"98551.95"), (b' xmlns:unused="urn:u"', b"")):
        with pytest.raises(SignatureRefused, match="changed"):
            OURS.signer(THEIRS).require(signed.replace(old, new), ROOT)
    own = replace(OURS.signer(OURS), enveloping=INCLUSIVE_WITH_COMMENTS).sign(inside, ROOT)
    assert INCLUSIVE_WITH_COMMENTS.encode() in own and verified_by_xmlsec(own, OURS)
    # A body stands in an envelope, of which it would inherit: there it stays exclusive.
    with pytest.raises(SignatureRefused, match="algorithm"):
        OURS.signer(THEIRS).require(signed_by_xmlsec(ENVELOPE, BODY, THEIRS, how=how), BODY)


def test_what_has_no_canonical_form_is_refused_and_not_signed() -> None:
    relative = b' xmlns:x="urn:x"', b' xmlns:x="../x"'
    with pytest.raises(SignatureRefused, match="canonical form"):
        SIGNER.require(SIGNED[ROOT].replace(*relative), ROOT)
    with pytest.raises(SigningFailed):
        SIGNER.sign(DOCUMENT.replace(*relative), ROOT)


def test_the_form_is_the_one_that_was_agreed() -> None:
    root = etree.fromstring(SIGNED[BODY])
    assert [etree.QName(child).localname for child in root] == ["Header", "Body"]
    security = root.find(f"{q(SOAP, 'Header')}/{q(WSSE, 'Security')}")
    assert security is not None
    assert security.get(q(SOAP, "mustUnderstand")) == "1"
    identifier = security.find(f".//{q(WSSE, 'KeyIdentifier')}")
    assert identifier is not None and identifier.get("ValueType") == X509_V3
    reference = security.find(f".//{q(DS, 'Reference')}")
    body = root.find(q(SOAP, "Body"))
    assert reference is not None and body is not None
    assert reference.get("URI") == f"#{body.get(q(WSU, 'Id'))}"
    assert re.search(rb'Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"', SIGNED[BODY])
    assert re.search(rb'Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"', SIGNED[BODY])


def test_a_signed_part_may_stand_inside_another_signed_one() -> None:
    inner = etree.fromstring(SIGNED[ROOT])
    root = etree.fromstring(ENVELOPE)
    request = root.find(".//request")
    assert request is not None
    request.append(inner)
    outer = SIGNER.sign(etree.tostring(root), BODY)
    SIGNER.require(outer, BODY)
    found = etree.fromstring(outer).find(".//data")
    assert found is not None
    SIGNER.require(etree.tostring(found, with_tail=False), ROOT)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40)


@settings(max_examples=30, deadline=None)
@given(TEXT, TEXT, TEXT)
def test_any_text_survives_signing_and_is_verified_by_both(one: str, two: str, three: str) -> None:
    root = etree.Element("data", kind=one)
    root.text = two
    etree.SubElement(root, "{urn:x}part").tail = three
    signed = SIGNER.sign(etree.tostring(root), ROOT)
    SIGNER.require(signed, ROOT)
    assert verified_by_xmlsec(signed, OURS)
    again = etree.fromstring(signed)
    assert (again.get("kind"), again.text or "", again[0].tail or "") == (one, two, three)


# --- certificates and keys -------------------------------------------------------------------------


@both_parts
def test_an_expired_certificate_neither_signs_nor_is_believed(part: SignedPart) -> None:
    expired = key_pair("expired", days=-1)
    document = {ROOT: DOCUMENT, BODY: ENVELOPE}[part]
    with pytest.raises(SigningFailed, match="renew"):
        expired.signer().sign(document, part)

    def last_month() -> datetime:
        return datetime.now(UTC) - timedelta(days=30)

    then = RsaSigner(expired.key, expired.certificate, (), last_month)
    signed = then.sign(document, part)
    with pytest.raises(SignatureRefused, match="not valid today"):
        OURS.signer(expired).require(signed, part)


def test_nobody_is_trusted_by_default() -> None:
    with pytest.raises(SignatureRefused, match="trusted"):
        OURS.signer().require(SIGNED[ROOT], ROOT)


def test_a_document_is_not_signed_twice() -> None:
    with pytest.raises(SigningFailed, match="already"):
        SIGNER.sign(SIGNED[ROOT], ROOT)


@pytest.mark.parametrize("document", [b"<a/>", f'<e:Envelope xmlns:e="{SOAP}"/>'.encode()])
def test_a_body_is_signed_in_an_envelope_only(document: bytes) -> None:
    with pytest.raises(SigningFailed, match="one body"):
        SIGNER.sign(document, BODY)


def test_keys_are_read_from_files_and_must_fit(tmp_path: Path) -> None:
    OURS.write(tmp_path, "ours")
    STRANGER.write(tmp_path, "other")
    small = tmp_path / "nothing.pem"
    small.write_text("no key")
    paths = {name: str(tmp_path / f"{name}.pem") for name in ("ours", "ours-key", "other", "other-key", "nothing")}
    signer = load_rsa(paths["ours-key"], paths["ours"], paths["other"], password=None)
    assert signer.trusted == (STRANGER.certificate,)
    assert "key" not in repr(signer).partition("certificate")[0], "a key is never shown"
    refused = {
        ("nothing", "ours", "other", None): "private key",
        ("ours-key", "other", "other", None): "not the certificate of",
        ("ours-key", "ours", "nothing", None): "signer.trusted",
        ("gone", "ours", "other", None): "cannot be read",
        ("ours-key", "ours", "other", "a password"): "its password",
    }
    for (key, certificate, trusted, password), said in refused.items():
        with pytest.raises(NotConfigured, match=said):
            load_rsa(paths.get(key, str(tmp_path / "gone")), paths[certificate], paths[trusted], password=password)
