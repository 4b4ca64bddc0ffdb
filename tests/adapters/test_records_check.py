"""The finished document: held against its schema, told by place what is wrong, packed and unpacked."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import pytest
from golden_contract import GOLDEN, KNOWN, extract
from upload_answers import told

from qaqpa.testing.contract import EXCHANGE
from qaqpa.testing.people import people
from qaqpa_adapters import records, records_check


@pytest.mark.parametrize(
    ("old", "new", "position", "said"),
    [
        (b"<StartDate>", b"<StartDate>canary", 2, "Contract/General/StartDate"),
        (b"<ContractCode>", b"<ContractKode>", 0, "not well-formed"),
        (b"<Gender>SB-m</Gender>", b"", 2, "Contract/General/Subjects/Subject/Entity/Individual"),
        (b"<OverdueAmount currency", b"<OverdueAmount valuta", 2, "Record/OverdueAmount"),
        (b'accountingDate="', b'accountingDate="canary', 2, "Instalment/Records/Record"),
        (b"<General>", b"<General><!DOCTYPE canary>", 0, "document type"),
        (b"</Records>\n", b"</Records><canary/>", 0, "not well-formed"),
        (b"</Contract>", b"</Contract>canary", 0, "Records of Contract and nothing else"),
        (b"</Contract>", b"</Contract><canary/>", 0, "Records of Contract and nothing else"),
        (b"<General>", b"<General>canary", 2, "Contract/General"),
        (b"<Contract ", b"<Kontract/><Contract ", 0, "Records of Contract and nothing else"),
        (b"<Records xmlns", b"<Records canary='1' xmlns", 0, "Records of Contract and nothing else"),
        (b"www.datapump.cig.com", b"www.datapump.example", 0, "Records of Contract"),
    ],
)
def test_what_is_wrong_with_a_document_is_told_by_place(old: bytes, new: bytes, position: int, said: str) -> None:
    rows = [records.contract(2, extract(), EXCHANGE, KNOWN) for _ in range(3)]
    whole = records.HEAD + b"".join(rows) + records.TAIL
    spoilt_row = rows[1].replace(old, new, 1)
    document = (
        records.HEAD + rows[0] + spoilt_row + rows[2] + records.TAIL
        if spoilt_row != rows[1]
        else whole.replace(old, new, 1)
    )
    assert document != whole
    found = records_check.faults(document, most=3)
    assert any(each.position == position and said in each.what for each in found), found
    assert not any("canary" in each.what for each in found)


def test_a_document_is_of_one_contract_at_least_and_of_no_more_than_allowed() -> None:
    row = records.contract(2, extract(), EXCHANGE, KNOWN)
    assert records_check.faults(records.HEAD + row * 3 + records.TAIL, most=3) == []
    for count in (0, 4):
        (only,) = records_check.faults(records.HEAD + row * count + records.TAIL, most=3)
        assert "1 to 3 contracts" in only.what


def test_not_every_fault_of_a_hopeless_document_is_told() -> None:
    row = records.contract(2, extract(), EXCHANGE, KNOWN).replace(b"<StartDate>", b"<StartDate>x")
    assert len(records_check.faults(records.HEAD + row * 500 + records.TAIL, most=500)) == records_check.MAX_FAULTS


def test_a_document_beyond_its_size_is_refused_before_it_is_read() -> None:
    (only,) = records_check.faults(b" " * (records_check.MAX_DOCUMENT + 1), most=1)
    assert "MiB" in only.what


def test_the_same_document_gives_the_same_archive_and_it_comes_out_again() -> None:
    made = [records_check.packed(GOLDEN.encode(), name="a.xml", at=EXCHANGE.at) for _ in range(2)]
    assert made[0] == made[1]
    assert records_check.unpacked(made[0]) == GOLDEN.encode()
    with zipfile.ZipFile(io.BytesIO(made[0])) as archive:
        assert [each.filename for each in archive.infolist()] == ["a.xml"]
        assert archive.testzip() is None


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return buffer.getvalue()


def test_hostile_archives_are_not_opened() -> None:
    bomb = archive(a=b"\0" * (records_check.MAX_DOCUMENT + 1))
    assert len(bomb) < 100_000
    lying = bytearray(archive(a=b"<a/>" * 1000))
    lying[22:26] = (5).to_bytes(4, "little")  # the size that the local header states
    good = archive(a=b"<a/>")
    for bad in (bomb, archive(), archive(a=b"1", b=b"2"), b"", b"PK\x03\x04", good[:-10], good[:30]):
        assert records_check.unpacked(bad) is None
    assert records_check.unpacked(bytes(lying)) in {None, b"<a/>" * 1000}


def test_a_thousand_people_are_of_the_schema() -> None:
    rows = [
        records.contract(2, told(person), EXCHANGE, KNOWN)
        for person in people(1000, today=EXCHANGE.at.date() - timedelta(days=1))
    ]
    assert records_check.faults(records.HEAD + b"".join(rows) + records.TAIL, most=1000) == []
