"""The document in which bureaus take contracts: its shape, its values, its schema, its archive."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from golden_contract import DATA, GOLDEN, KNOWN, extract
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from pydantic import ValidationError
from upload_answers import FCB, ROWS, SCB

from qaqpa.errors import InvalidRequest, NotConfigured
from qaqpa.model.disclosure import Extract
from qaqpa.model.vocabulary import PersonalData, Phase
from qaqpa.testing.contract import EXCHANGE
from qaqpa_adapters import records, records_check
from qaqpa_adapters.batches import CONTRACT_UPLOAD
from qaqpa_adapters.dictionaries import Dictionaries
from qaqpa_adapters.first_credit_bureau import FirstCreditBureauSettings
from qaqpa_adapters.upload_sandbox import DICTIONARIES

NS = {"r": "http://www.datapump.cig.com"}


def written(*changes: tuple[str, Any], known: Dictionaries = KNOWN) -> etree._Element:
    row = records.contract(2, extract(*changes), EXCHANGE, known)
    return etree.fromstring(records.HEAD + row + records.TAIL)


def refused(*changes: tuple[str, Any], known: Dictionaries = KNOWN) -> str:
    with pytest.raises(InvalidRequest) as caught:
        records.contract(17, extract(*changes), EXCHANGE, known)
    assert not any(str(value) in str(caught.value) for _, value in changes if isinstance(value, str) and len(value) > 8)
    return str(caught.value)


def shape(root: etree._Element) -> bytes:
    """The canonical form without the white space between elements."""
    for node in root.iter():
        for name in ("text", "tail"):
            if (getattr(node, name) or "x").isspace():
                setattr(node, name, None)
    return etree.tostring(root, method="c14n")


# --- the shape -------------------------------------------------------------------------------------


def test_the_document_is_the_golden_one() -> None:
    assert shape(written()) == shape(etree.fromstring(GOLDEN.encode()))
    PersonalData.model_validate(DATA)


def test_the_golden_document_and_what_is_written_are_of_the_schema() -> None:
    assert records_check.faults(GOLDEN.encode(), most=1) == []
    root = etree.fromstring(records.HEAD + b"".join(_row(each) for each in ROWS) + records.TAIL)
    assert records_check.schema().validate(root), "also read as a whole, by the schema alone"


def _row(each: Extract) -> bytes:
    return records.contract(2, each, EXCHANGE, KNOWN)


@pytest.mark.parametrize(
    ("phase", "id_"), [("open", "SB-open"), ("repaid", "5"), ("repaid_early", "6"), ("creditor_changed", "8")]
)
def test_each_phase_has_its_id_and_those_that_end_a_contract_their_day(phase: str, id_: str) -> None:
    ends = phase != "open"
    root = written(("contract.phase", phase), ("contract.real_payment_date", "2026-01-12" if ends else None))
    assert root.find(".//r:ContractPhase", NS).get("id") == id_
    assert (root.find(".//r:RealPaymentDate", NS) is not None) is ends
    wrong = refused(("contract.phase", phase), ("contract.real_payment_date", None if ends else "2026-01-12"))
    assert wrong.startswith("row 17: contract.real_payment_date: ")
    assert {each.value for each in Phase} == {"open", "repaid", "repaid_early", "creditor_changed"}


def test_what_is_absent_leaves_no_element() -> None:
    optional = [path for path in records.USES if path != "contract.real_payment_date"]
    root = written(*((path, None) for path in optional))
    names = {etree.QName(node).localname for node in root.iter()}
    assert not names & {"FathersName", "Residency", "Citizenship", "Addresses", "Communications", "Collaterals", "Fine"}
    assert root.findtext(".//r:ContractCode", namespaces=NS) == DATA["contract"]["number"]
    assert len(root.findall(".//r:Identification", NS)) == 1
    assert records_check.faults(etree.tostring(root, encoding="UTF-8"), most=1) == []


def test_the_code_is_what_the_bureau_knows_the_contract_by() -> None:
    assert records.codes_of(extract()) == ("CC-1", "МК-2501-000001")
    assert records.codes_of(extract(("contract.code", None))) == ("МК-2501-000001",)
    assert records.codes_of(extract(("contract.code", "МК-2501-000001"))) == ("МК-2501-000001",)
    with pytest.raises(InvalidRequest, match=r"contract\.number"):
        records.codes_of(extract(("contract.number", None)))


def test_another_document_than_the_identity_card_takes_its_id_from_the_dictionary() -> None:
    root = written(("identity.document.kind", "passport"))
    assert [node.get("typeId") for node in root.iterfind(".//r:Identification", NS)] == ["14", "SB-passport"]
    assert "identity.document.kind" in refused(("identity.document.kind", None))
    assert "identity.document.kind" in refused(("identity.document.kind", "library card"))


# --- values that cannot be written -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("contract.amount", "-1.00"),
        ("contract.amount", "1.005"),
        ("contract.amount", "1e5"),
        ("contract.amount", "NaN"),
        ("contract.amount", "12345678901234567.00"),
        ("contract.amount", 5),
        ("contract.instalment_count", -1),
        ("contract.instalment_count", 10**10),
        ("contract.instalment_count", True),
        ("contract.instalment_count", "12"),
        ("contract.signed_on", "10.01.2025"),
        ("contract.signed_on", "2025-02-30"),
        ("contract.signed_on", "20250110"),
        ("contract.accounting_date", "2026-01-16"),
        ("contract.real_payment_date", "2026-02-01"),
        ("identity.birth_date", "2990-01-01"),
        ("identity.sex", "unknown"),
        ("identity.last_name", "   "),
        ("identity.last_name", "ы" * 501),
        ("identity.last_name", ["Құдайбергенов"]),
        ("identity.last_name", "Құдай\x00бергенов"),
        ("identity.last_name", "Құдай\x9fбергенов"),
        ("identity.last_name", "Құдай\ud800бергенов"),
        ("contract.funding_type", "mortgage of a house"),
        ("contract.currency", "K Z T"),
        ("contact.residence_address", None),
        ("contract.collateral", None),
        ("contract.collateral_value", None),
    ],
)
def test_what_cannot_be_written_is_refused_by_row_and_field(path: str, value: Any) -> None:
    named = {"contract.collateral": "contract.collateral_value"}.get(path, path)
    assert refused((path, value)).startswith(f"row 17: {named}: ")


def test_today_is_the_day_in_kazakhstan() -> None:
    late = EXCHANGE.at.replace(hour=20)  # 01:00 of the next day there
    exchange = type(EXCHANGE)(EXCHANGE.id, late)
    row = records.contract(2, extract(("contract.accounting_date", "2026-01-16")), exchange, KNOWN)
    assert b'accountingDate="2026-01-16"' in row


@pytest.mark.parametrize("name", sorted(set(DICTIONARIES) - {"language", "operation", "message_type", "document"}))
def test_an_id_that_the_settings_lack_is_asked_for_by_name_and_never_guessed(name: str) -> None:
    lacking = None if isinstance(DICTIONARIES[name], str) and DICTIONARIES[name] != "as_is" else {}
    known = Dictionaries.model_validate({**DICTIONARIES, name: lacking})
    changes = [("contract.phase", "open"), ("contract.real_payment_date", None)] if name == "contract_phase" else []
    if name.startswith("subject_"):
        adapter = type(FCB)(FCB._settings.model_copy(update={"dictionaries": known}))
        with pytest.raises(NotConfigured, match=name):
            adapter.batch_head(CONTRACT_UPLOAD, EXCHANGE)
    else:
        assert name in refused(*changes, known=known)


def test_without_the_bureaus_papers_nothing_is_written() -> None:
    for adapter, wanted in ((FCB, "schema_id"), (SCB, "file_type")):
        bare = type(adapter)(adapter._settings.model_copy(update={"dictionaries": None}))
        for write in (
            lambda a: a.batch_head(CONTRACT_UPLOAD, EXCHANGE),
            lambda a: a.batch_row(CONTRACT_UPLOAD, 2, ROWS[0], EXCHANGE),
        ):
            with pytest.raises(NotConfigured, match=r"settings\.dictionaries"):
                write(bare)
        kindless = type(adapter)(adapter._settings.model_copy(update={wanted: None}))
        with pytest.raises(NotConfigured, match=wanted):
            kindless.upload(CONTRACT_UPLOAD, GOLDEN.encode(), EXCHANGE)


def test_dictionaries_are_json_and_every_name_in_them_is_known() -> None:
    rest = {"user_name": "u", "password": "p"}
    made = FirstCreditBureauSettings.model_validate({**rest, "dictionaries": json.dumps(DICTIONARIES)})
    assert made.dictionaries == KNOWN
    for wrong in ("{", "[]", '{"fundingtype": {}}', '{"kato": {"750000000": "a b"}}', '{"kato": "same"}'):
        with pytest.raises(ValidationError):
            FirstCreditBureauSettings.model_validate({**rest, "dictionaries": wrong})


# --- what is written can be read back ----------------------------------------------------------------

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=60,
).filter(lambda text: text.strip() == text)
SUMS = st.decimals(min_value=0, max_value=10**12, places=2).map(lambda value: f"{value:.2f}")
COUNTS = st.integers(0, 10**9)
DAYS = st.dates(date(1950, 1, 1), date(2026, 1, 15)).map(date.isoformat)
PLACES = {
    "identity.last_name": ("Surname/r:Text", TEXTS),
    "identity.first_name": ("FirstName/r:Text", TEXTS),
    "identity.middle_name": ("FathersName/r:Text", TEXTS),
    "identity.birth_date": ("DateOfBirth", DAYS),
    "identity.document.number": ("Identification[@typeId='7']/r:Number", TEXTS),
    "contact.residence_address": ("Address[@typeId='1']/r:StreetName/r:Text", TEXTS),
    "contact.registered_address": ("Address[@typeId='6']/r:StreetName/r:Text", TEXTS),
    "contract.number": ("AgreementNumber", TEXTS),
    "contract.code": ("ContractCode", TEXTS),
    "contract.signed_on": ("StartDate", DAYS),
    "contract.matures_on": ("EndDate", DAYS),
    "contract.real_payment_date": ("RealPaymentDate", DAYS),
    "contract.amount": ("TotalAmount", SUMS),
    "contract.instalment_amount": ("InstalmentAmount", SUMS),
    "contract.instalment_count": ("InstalmentCount", COUNTS),
    "contract.outstanding_instalments": ("OutstandingInstalmentCount", COUNTS),
    "contract.outstanding_amount": ("OutstandingAmount", SUMS),
    "contract.overdue_instalments": ("OverdueInstalmentCount", COUNTS),
    "contract.overdue_amount": ("OverdueAmount", SUMS),
    "contract.fine": ("Fine", SUMS),
    "contract.penalty": ("Penalty", SUMS),
}


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({path: values for path, (_, values) in PLACES.items()}))
def test_what_is_written_is_read_back_the_same_and_is_of_the_schema(values: dict[str, Any]) -> None:
    row = records.contract(2, extract(*values.items()), EXCHANGE, KNOWN)
    document = records.HEAD + row + records.TAIL
    assert records_check.faults(document, most=1) == []
    root = etree.fromstring(document)
    for path, (place, _) in PLACES.items():
        assert root.findtext(f".//r:{place}", namespaces=NS) == str(values[path]), path
