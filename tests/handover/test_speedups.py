"""What is made quickly for a million rows is what would be made slowly for one."""

from __future__ import annotations

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from harness import House
from qaqpa.ledger import entries
from qaqpa.ledger.handed import place, place_of
from qaqpa.ledger.handovers import RowEntries
from qaqpa.ledger.subjects import Subject
from qaqpa.model.canonical import canonical
from qaqpa.model.decision import Asked, Decision, GuardResult, Result
from qaqpa.model.handover import DecidedRow, row_id
from qaqpa.model.identifiers import CallerId, ConsentId, HandoverId, RecipientId, SubjectId, uuid7
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import Ground, SealKind, Words, timestamp
from qaqpa.tables.safety import inert, surely_inert_row


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(1, 64))
def test_keys_are_derived_as_rfc_5869_says(key: bytes, info: bytes, length: int) -> None:
    subject = Subject(SubjectId("00" * 16), key)
    assert subject._derive(info, length) == HKDFExpand(SHA256(), length, info).derive(key)


@given(st.lists(st.text(st.sampled_from("aЯ9 .,;|+-=@'\"\t\u200b＝(№_"), max_size=8), min_size=1, max_size=6))
def test_a_row_that_needs_no_closer_look_needs_none_cell_by_cell(cells: list[str]) -> None:
    if surely_inert_row(cells):
        assert [inert(cell, first=at == 0) for at, cell in enumerate(cells)] == cells


def test_usual_rows_need_no_closer_look() -> None:
    assert surely_inert_row(
        ["900101300123", "Әлихан", "", "+77011234567", "070000, г. Өскемен, пр. Абая, д. 1", "12.50"]
    )
    assert not surely_inert_row(["+77011234567", "a"])
    assert not surely_inert_row(["a", "=1+1"])
    assert not surely_inert_row(["a", "b, =1+1"])


def test_ids_of_rows_are_uuids_of_version_7_in_their_order() -> None:
    handover = HandoverId(uuid7())
    ids = [row_id(handover, row) for row in (2, 3, 1_000, 70_000, 1_048_577, 2**31)]
    assert ids == sorted(set(ids)) and all(each[14] == "7" and each[19] in "89ab" for each in ids)
    assert all(each[:13] == handover[:13] for each in ids)
    assert row_id(HandoverId(uuid7()), 2) != ids[0]


@given(st.integers(0, 2**31 - 1))
def test_verification_reads_the_line_from_the_id(line: int) -> None:
    assert place_of(row_id(HandoverId(uuid7()), line)) == place(line)


async def test_an_entry_of_a_row_is_the_canonical_form_of_what_it_says(house: House) -> None:
    """The quick way puts texts together; the slow one writes the same bytes from the same values."""
    words = Words(ru='%s \u0001 "да"', kk="%", en="%(id)s")
    guards = (
        GuardResult("a_guard", "2.3(3)", words, Result.PERMIT),
        GuardResult("another", "1.1(15)", words, Result.PERMIT),
    )
    asked = Asked(CallerId("collections"), RecipientId("demo-collector"), "handover", "debt_collection")
    async with house.gateway() as gateway:
        for consent in (None, ConsentId(uuid7())):
            decision = Decision(
                asked, gateway._clock(), guards, ("1.1(15)",), Ground.CONSENT, "2025-01", consent=consent
            )
            subject = Subject(SubjectId("ab" * 16), b"k" * 32)
            handover, fields = HandoverId(uuid7()), (FieldPath("identity.iin"),)
            made = RowEntries(gateway.ledger, handover, SealKind.AGE)
            time = timestamp(gateway._clock())
            for number in (2, 3):
                row = DecidedRow(number, "900101300123", decision, b'{"contract":{}}', fields, (), b"{}")
                draft = made.intent(row, subject, time)
                public = entries.row_intent(
                    handover, number, row_id(handover, number), decision, fields, (), subject.id,
                    seal=SealKind.AGE, time=time,
                )  # fmt: skip
                body = orjson.loads(draft.body)
                assert draft.body == canonical({**public, "sealed": body["sealed"]})
                assert subject.open(body) == {
                    "iin": "900101300123", "sent": subject.digest(b"{}"), "stated": {"contract": {}},
                }  # fmt: skip
