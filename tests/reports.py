"""Reports for tests: a person with a story, and the text of a PDF."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from harness import PEOPLE, House, give_consent, handover_document, pension_document, request, request_document
from qaqpa.errors import Blocked
from qaqpa.gateway import Gateway
from qaqpa.model.consent import Consent
from recipients import tool

PERSON, OTHER, NOBODY = PEOPLE[:3]
ADDRESS = "г. Алматы, ул. Примерная, 1"
"""Of the agency that is shipped."""


def with_terms(house: House) -> House:
    """The bureau keeps what it gets for five years."""
    house.edit("recipients/first-credit-bureau.toml", ("[limits]\n", '[recall]\nkeep_for = "1825d"\n\n[limits]\n'))
    return house


async def lived(house: House, gateway: Gateway) -> Consent:
    """A consent, four reports of a bureau and a score, a file at the agency, a refusal; and somebody else's report."""
    consent = await give_consent(house, gateway, PERSON)
    await give_consent(house, gateway, OTHER)
    await gateway.disclose("loan-scoring", request(request_document(OTHER)))
    for _ in range(3):
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    bare = request_document(PERSON, data={"identity": {"iin": PERSON.iin}})
    await gateway.disclose("loan-scoring", request(bare))
    await gateway.disclose("loan-scoring", request(request_document(PERSON, operation="score")))
    await gateway.disclose("collections", request(handover_document(PERSON)))
    with suppress(Blocked):
        await gateway.disclose("loan-scoring", request(pension_document(PERSON)))
    return consent


def text_of(pdf: bytes, folder: Path) -> str:
    """What stands in a PDF, as poppler reads it."""
    path = folder / "read.pdf"
    path.write_bytes(pdf)
    command = [tool("pdftotext", "poppler-utils"), "-layout", str(path), "-"]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


def pages_of(pdf: bytes, folder: Path) -> int:
    """How many pages it has."""
    return text_of(pdf, folder).count("\f")
