"""Every shipped adapter that takes batches keeps their contract, and the contract notices one that does not."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, ClassVar

import pytest
from upload_answers import FCB, FCB_TAKEN, FCB_TOLD, ROWS, SCB, SCB_TAKEN, SCB_TOLD

from qaqpa.adapter import GROUP, BatchRows, find
from qaqpa.errors import AnswerUnreadable, InvalidRequest
from qaqpa.model.batch import BatchState, BatchStatus
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply
from qaqpa.testing.batch_contract import BatchContract
from qaqpa_adapters.batches import CONTRACT_UPLOAD, UPLOAD, plain_code
from qaqpa_adapters.first_credit_bureau import FirstCreditBureau

NARROW = UPLOAD.uses - {
    "identity.iin", "identity.last_name", "identity.first_name", "identity.middle_name", "identity.document.number",
    "contact.mobile", "contact.registered_address", "contact.residence_address", "contract.number", "contract.code",
}  # fmt: skip
"""What stands in a dictionary, or is a date, a sum or a count."""


class TestFirstCreditBureauInBatches(BatchContract):
    adapter = FCB
    rows: ClassVar = {CONTRACT_UPLOAD: ROWS}
    taken: ClassVar = {CONTRACT_UPLOAD: FCB_TAKEN}
    told: ClassVar = {CONTRACT_UPLOAD: FCB_TOLD}
    narrow = NARROW


class TestStateCreditBureauInBatches(BatchContract):
    adapter = SCB
    rows: ClassVar = {CONTRACT_UPLOAD: ROWS}
    taken: ClassVar = {CONTRACT_UPLOAD: SCB_TAKEN}
    told: ClassVar = {CONTRACT_UPLOAD: SCB_TOLD}
    narrow = NARROW


class Careless(FirstCreditBureau):
    """Adapters with one fault each, to be caught."""

    def __init__(self) -> None:
        super().__init__(FCB._settings)


class Templated(Careless):
    def batch_row(self, operation: str, row: int, extract: Extract, exchange: Exchange) -> bytes:
        good = super().batch_row(operation, row, ROWS[0], exchange)
        old, new = str(ROWS[0].get("identity.last_name")), str(extract.get("identity.last_name"))
        return good.replace(old.encode(), new.encode())


class Numbering(Careless):
    def batch_row(self, operation: str, row: int, extract: Extract, exchange: Exchange) -> bytes:
        return super().batch_row(operation, row, extract, exchange).replace(b"<General>", b"<General><!--%d-->" % row)


class Forgiving(Careless):
    def batch_row(self, operation: str, row: int, extract: Extract, exchange: Exchange) -> bytes:
        try:
            return super().batch_row(operation, row, extract, exchange)
        except InvalidRequest:
            return super().batch_row(operation, row, ROWS[0], exchange)


class Talkative(Careless):
    def batch_row(self, operation: str, row: int, extract: Extract, exchange: Exchange) -> bytes:
        try:
            return super().batch_row(operation, row, extract, exchange)
        except InvalidRequest as error:
            raise InvalidRequest([f"{error} in {extract.data}"]) from None


class Unchecked(Careless):
    def packed(self, document: bytes, exchange: Exchange) -> bytes:
        return document


class Alone(Careless):
    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        return Message(self.batch_row(operation, 1, extract, exchange), "text/xml", "upload")


class Gullible(Careless):
    def status(self, operation: str, reply: Reply, batch: str, rows: BatchRows) -> BatchStatus:
        try:
            return super().status(operation, reply, batch, rows)
        except AnswerUnreadable:
            return BatchStatus(BatchState.ACCEPTED, "533")


@pytest.mark.parametrize(
    ("faulty", "test"),
    [
        (Templated, "test_every_value_comes_from_the_extract_and_hostile_characters_stay_data"),
        (Numbering, "test_rows_are_pure"),
        (Forgiving, "test_a_missing_field_that_is_needed_is_named_with_its_row"),
        (Forgiving, "test_control_characters_are_refused"),
        (Talkative, "test_a_missing_field_that_is_needed_is_named_with_its_row"),
        (Unchecked, "test_a_document_that_is_not_whole_is_not_uploaded"),
        (Alone, "test_a_batch_is_never_one_persons_message"),
        (Gullible, "test_hostile_answers_raise_our_errors_and_nothing_else"),
        (Gullible, "test_what_is_told_of_another_batch_is_not_believed"),
    ],
)
def test_the_contract_notices(faulty: type[Any], test: str) -> None:
    held = type("Held", (TestFirstCreditBureauInBatches,), {"adapter": faulty()})
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(held(), test)()
    getattr(TestFirstCreditBureauInBatches(), test)()


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (("1", "103"), "1.103"),
        (("CONTRACT_NOT_VALID",), "CONTRACT_NOT_VALID"),
        (("batch.error.endDate",), "batch.error.endDate"),
        (("Ivanov",), "unnamed"),
        (("Оспанов",), "unnamed"),
        (("900101300017",), "unnamed"),
        (("МК-2501-000001",), "unnamed"),
        (("MK-2501-000001",), "unnamed"),
        ((None, None), "unnamed"),
    ],
)
def test_a_code_of_theirs_is_shown_only_when_it_cannot_tell_of_a_person(parts: tuple[str, ...], shown: str) -> None:
    assert plain_code(*parts) == shown


class Half(FirstCreditBureau):
    """It says that it takes batches, and cannot end one."""

    name = "half"
    batch_tail = None  # type: ignore[assignment]


def test_what_goes_as_a_batch_needs_all_of_a_batch_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(["first_credit_bureau", "state_credit_bureau"])[1] == {}
    point = EntryPoint("half", f"{__name__}:Half", GROUP)
    monkeypatch.setattr("qaqpa.adapter.installed", lambda: EntryPoints([point]))
    found, failed = find(["half"])
    assert found == {}
    assert "as a batch" in failed["half"]
