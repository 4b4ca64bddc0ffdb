"""Signed documents for tests: by our signer, and by xmlsec as another party would."""

from __future__ import annotations

import base64

import pytest
import xmlsec
from cryptography.hazmat.primitives import serialization
from lxml import etree

from qaqpa.adapter import SignedPart
from qaqpa.seal.xml_signature import (
    BASE64,
    DS,
    SOAP,
    WSSE,
    WSU,
    X509_V3,
)
from qaqpa.testing.signing import KeyPair, key_pair

ROOT, BODY = SignedPart.ROOT, SignedPart.BODY
OURS, THEIRS, STRANGER = key_pair("operator"), key_pair("pension centre"), key_pair("stranger")
SIGNER = OURS.signer(OURS)
"""Signs, and believes itself."""
DOCUMENT = (
    '<data xmlns:x="urn:x" x:kind="a"><iin>900101300017</iin><name>Әлихан &amp; &lt;Co&gt;</name>\r\n'
    '<x:rows n="2"><amount>58551.95</amount><amount>1</amount></x:rows> behind</data>'
).encode()
ENVELOPE = (
    f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="{SOAP}" xmlns:t="urn:t" xmlns:unused="urn:u"><e:Body>'
    "<t:Send><request><amount>58551.95</amount></request></t:Send></e:Body></e:Envelope>"
).encode()
SIGNED = {ROOT: SIGNER.sign(DOCUMENT, ROOT), BODY: SIGNER.sign(ENVELOPE, BODY)}
both_parts = pytest.mark.parametrize("part", [ROOT, BODY])


def q(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}"


def signed_by_xmlsec(
    document: bytes,
    part: SignedPart,
    pair: KeyPair,
    method: object = xmlsec.constants.TransformRsaSha256,
    *,
    how: object = xmlsec.constants.TransformExclC14N,
) -> bytes:
    """As another party would: its own prefixes, line breaks in base64, the elements in their order."""
    root = etree.fromstring(document)
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signature = xmlsec.template.create(root, how, method, ns="dsig")
    certificate = base64.encodebytes(pair.certificate.public_bytes(serialization.Encoding.DER)).decode()
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(key, xmlsec.constants.KeyDataFormatPem)
    info = xmlsec.template.ensure_key_info(signature)
    if part is ROOT:
        root.append(signature)
        reference = xmlsec.template.add_reference(signature, xmlsec.constants.TransformSha256, uri="")
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        data = etree.SubElement(info, q(DS, "X509Data"))
        etree.SubElement(data, q(DS, "X509Certificate")).text = certificate
    else:
        header = etree.Element(q(SOAP, "Header"))
        root.insert(0, header)
        etree.SubElement(header, q(WSSE, "Security")).append(signature)
        body = root.find(q(SOAP, "Body"))
        assert body is not None
        body.set(q(WSU, "Id"), "the-body")
        context.register_id(body, "Id", WSU)
        reference = xmlsec.template.add_reference(signature, xmlsec.constants.TransformSha256, uri="#the-body")
        token = etree.SubElement(info, q(WSSE, "SecurityTokenReference"))
        identifier = etree.SubElement(token, q(WSSE, "KeyIdentifier"), EncodingType=BASE64, ValueType=X509_V3)
        identifier.text = certificate
    xmlsec.template.add_transform(reference, how)
    context.sign(signature)
    return etree.tostring(root)
