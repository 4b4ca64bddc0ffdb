"""The contract of a `BatchAdapter` as a test-suite, beside `AdapterContract`: subclass it and pytest holds yours to it.

It asks what a handover relies on: rows hold nothing but their extracts, as data and never as markup; a document that
is not whole is not uploaded; hostile answers do no harm; no error says a value. It never opens a connection.

    class TestMyBureauInBatches(BatchContract):
        adapter = MyBureau(MyBureau.Settings(...))
        rows = {"contract_upload": [extract_holding_every_field_used, another]}
        taken = {"contract_upload": (reply_to_the_upload, "7000001")}
        told = {"contract_upload": [("7000001", a_reply, what_it_says)]}
"""

# ruff: noqa: S101 - asserts are what a test-suite is made of

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import pytest
from lxml import etree

from qaqpa.adapter import BatchAdapter
from qaqpa.errors import AnswerUnreadable, InvalidRequest, Rejected, WrongExchange
from qaqpa.model.batch import BatchState, BatchStatus
from qaqpa.model.disclosure import Extract, Message, Reply
from qaqpa.testing.contract import (
    _HTML,
    EXCHANGE,
    MARKUP,
    _in_vocabulary,
    _keep,
    _other_forms,
    _put,
    _says_none_of,
    _telling,
    _texts,
    _values,
)

_CONTROL = ("\x00", "\x0b", "\x1b", "\x7f", "\ud800", "\uffff")


class Numbered:
    """Rows of a batch: the first Contract is row 2 of the register, as under a heading, and so on."""

    def __init__(self, codes: Sequence[Sequence[str]]) -> None:
        """`codes` are the `batch_codes` of each row."""
        self._by_code = {code: number for number, each in enumerate(codes, start=2) for code in each}
        self._last = len(codes)

    def at(self, position: int) -> int | None:
        """One more than the position."""
        return position + 1 if 1 <= position <= self._last else None

    def known_as(self, code: str) -> int | None:
        """By the code."""
        return self._by_code.get(code)


class BatchContract:
    """What every `BatchAdapter` must hold. A subclass gives rows, the answer to an upload, and answers about it."""

    adapter: ClassVar[Any]
    rows: ClassVar[Mapping[str, Sequence[Extract]]]
    """By operation: two extracts or more. The first has a value for every field that the operation uses; the last makes
    a row with what is needed alone."""
    taken: ClassVar[Mapping[str, tuple[Reply, str]]]
    """By operation: a reply that takes a batch, and its id."""
    told: ClassVar[Mapping[str, Sequence[tuple[str, Reply, BatchStatus]]]]
    """By operation: the batch asked about, the reply, and what it says of rows numbered by `Numbered`."""
    narrow: ClassVar[frozenset[str]] = frozenset()
    """Fields that their format restricts further than the vocabulary; a row may refuse any text in them."""

    def strings(self, row: bytes) -> list[str]:
        """Every text in a row, as its recipient reads it. Override for a format that is not XML."""
        root = etree.fromstring(row, etree.XMLParser(resolve_entities=False, no_network=True))
        found = [text for node in root.iter() for text in (node.text, node.tail, *node.attrib.values())]
        return [str(text) for text in found if text and not text.isspace()]

    def row(self, name: str, extract: Extract, number: int = 2) -> bytes:
        """One row."""
        return bytes(self.adapter.batch_row(name, number, extract, EXCHANGE))

    def document(self, name: str) -> bytes:
        """All rows, whole."""
        rows = [self.row(name, each, number) for number, each in enumerate(self.rows[name], start=2)]
        return b"".join((self.adapter.batch_head(name, EXCHANGE), *rows, self.adapter.batch_tail(name)))

    def numbered(self, name: str) -> Numbered:
        """The rows, as a caller knows them."""
        return Numbered([self.adapter.batch_codes(name, each) for each in self.rows[name]])

    # --- declarations ---

    def test_every_batch_has_rows_and_answers(self) -> None:
        adapter: object = self.adapter
        assert isinstance(adapter, BatchAdapter)
        names = {name for name, declared in self.adapter.operations.items() if declared.batch}
        assert names
        assert names == set(self.rows) == set(self.taken) == set(self.told)
        for name, rows in self.rows.items():
            assert len(rows) > 1, "one row is no batch"
            empty = [path for path in self.adapter.operations[name].uses if not _values(rows[0].data, path)]
            assert not empty, f"the first row of {name} has no {empty}"
            assert not self.adapter.operations[name].returns, f"{name} returns nothing about one person"
            assert self.adapter.batch_limit(name) >= len(rows)
            assert {told.state for _, _, told in self.told[name]} >= set(BatchState), f"{name}: not every state is told"

    def test_a_batch_is_never_one_persons_message(self) -> None:
        for name, rows in self.rows.items():
            with pytest.raises(InvalidRequest) as caught:
                self.adapter.encode(name, rows[0], EXCHANGE)
            _says_none_of(caught.value, _all_texts(rows[0]))

    # --- rows ---

    def test_rows_are_pure(self) -> None:
        for name, rows in self.rows.items():
            before = copy.deepcopy(rows[0].data)
            assert self.row(name, rows[0]) == self.row(name, rows[0])
            assert rows[0].data == before, f"{name}: a row changed the extract"
            assert self.row(name, rows[0], 2) == self.row(name, rows[0], 3), f"{name}: a row's number leaves with it"

    def test_a_row_is_made_from_what_is_needed_alone(self) -> None:
        for name, rows in self.rows.items():
            declared, last = self.adapter.operations[name], rows[-1]
            texts = self.strings(self.row(name, _keep(last, declared.needs)))
            kept = {value for path in declared.needs for value in _texts(last, path)}
            for path in declared.uses - declared.needs:
                left_out = [value for value in _texts(last, path) if not any(value in other for other in kept)]
                found = [value for value in left_out if any(value in text for text in texts)]
                assert not found, f"{name}: {path} is in the row and not in the extract"

    def test_a_missing_field_that_is_needed_is_named_with_its_row(self) -> None:
        for name, rows in self.rows.items():
            declared = self.adapter.operations[name]
            for path in sorted(declared.needs):
                with pytest.raises(InvalidRequest) as caught:
                    self.row(name, _keep(rows[0], declared.uses - {path}), 4711)
                assert path in str(caught.value), f"{name}: the error does not name {path}"
                assert "4711" in str(caught.value), f"{name}: the error does not name the row"
                _says_none_of(caught.value, _all_texts(rows[0]))

    def test_every_value_comes_from_the_extract_and_hostile_characters_stay_data(self) -> None:
        for name, rows in self.rows.items():
            for number, path in enumerate(sorted(self.adapter.operations[name].uses)):
                canary = f"{MARKUP}{number}"
                changed = _put(rows[0], path, canary)
                try:
                    texts = self.strings(self.row(name, changed))
                except InvalidRequest as error:
                    assert path in self.narrow or not _in_vocabulary(changed), f"{name} refuses a text in {path}"
                    assert path in str(error), f"{name}: the error does not name {path}"
                    _says_none_of(error, [canary])
                    continue
                assert any(canary in text for text in texts), f"{name}: {path} does not arrive as it was given"

    def test_control_characters_are_refused(self) -> None:
        for name, rows in self.rows.items():
            for path in sorted(self.adapter.operations[name].uses):
                for bad in _CONTROL:
                    with pytest.raises(InvalidRequest) as caught:
                        self.row(name, _put(rows[0], path, f"canary-7001{bad}x"))
                    assert path in str(caught.value), f"{name}: the error does not name {path}"
                    _says_none_of(caught.value, ["canary-7001"])

    # --- the document ---

    def test_a_whole_document_is_uploaded(self) -> None:
        for name in self.rows:
            document = self.document(name)
            message: Message = self.adapter.upload(name, document, EXCHANGE)
            assert message == self.adapter.upload(name, document, EXCHANGE), f"{name}: not pure"
            assert message.endpoint == self.adapter.operations[name].endpoint
            head = "".join(f"{key}{value}" for key, value in message.headers.items()) + message.content_type
            assert head.isascii()
            assert head.isprintable(), f"{name}: a header with a line break"

    def test_a_document_that_is_not_whole_is_not_uploaded(self) -> None:
        for name, rows in self.rows.items():
            for what, document in self._broken(name):
                with pytest.raises(InvalidRequest) as caught:
                    self.adapter.upload(name, document, EXCHANGE)
                _says_none_of(caught.value, [*_all_texts(rows[0]), what])

    def _broken(self, name: str) -> Iterator[tuple[str, bytes]]:
        whole, head, tail = self.document(name), self.adapter.batch_head(name, EXCHANGE), self.adapter.batch_tail(name)
        row = self.row(name, self.rows[name][0])
        yield "nothing at all", b""
        yield "no row at all", head + tail
        yield "no tail at all", whole[: -len(tail)]
        yield "no head at all", whole[len(head) :]
        yield "two tails in it", whole + tail
        yield "half a row in it", head + row[: len(row) // 2] + tail
        yield "a row in a row", head + row[: row.rindex(b"<")] + row + row[row.rindex(b"<") :] + tail
        yield "more than may be", head + row * (self.adapter.batch_limit(name) + 1) + tail
        yield "NUL bytes in it", whole.decode().encode("utf-16")

    # --- answers ---

    def test_an_upload_that_was_taken_has_an_id(self) -> None:
        for name, (reply, batch) in self.taken.items():
            assert self.adapter.uploaded(name, reply, EXCHANGE) == batch

    def test_a_question_about_a_batch_is_made_of_its_id(self) -> None:
        for name, told in self.told.items():
            for batch, _, _ in told:
                message = self.adapter.ask_status(name, batch, EXCHANGE)
                assert message == self.adapter.ask_status(name, batch, EXCHANGE), f"{name}: not pure"
                assert message.endpoint == self.adapter.operations[name].endpoint
                assert message.body

    def test_what_is_told_of_a_batch_is_read(self) -> None:
        for name, told in self.told.items():
            for batch, reply, expected in told:
                assert self.adapter.status(name, reply, batch, self.numbered(name)) == expected

    def test_what_is_told_of_another_batch_is_not_believed(self) -> None:
        for name, told in self.told.items():
            batch, reply, _ = told[0]
            with pytest.raises(WrongExchange) as caught:
                self.adapter.status(name, reply, f"{batch}9", self.numbered(name))
            _says_none_of(caught.value, [f"{batch}9", *_telling(reply)])

    def test_hostile_answers_raise_our_errors_and_nothing_else(self) -> None:
        for name, told in self.told.items():
            rows = self.numbered(name)
            answers = [(None, self.taken[name][0]), *((batch, reply) for batch, reply, _ in told)]
            for batch, good in answers:
                for body in [*(body for _, body in _other_forms(good.body)), good.body, _HTML]:
                    for status in (good.status, 301, 404, 500):
                        if body == good.body and status == good.status:
                            continue
                        reply = Reply(status, body, good.content_type)
                        try:
                            if batch is None:
                                self.adapter.uploaded(name, reply, EXCHANGE)
                            else:
                                self.adapter.status(name, reply, batch, rows)
                        except (Rejected, AnswerUnreadable) as error:
                            _says_none_of(error, ["canary-7001", "Қате", *_telling(good)])
                        else:
                            pytest.fail(f"{name}: an answer of another form, or with status {status}, was believed")

    def test_flipped_bits_do_no_harm(self) -> None:
        for name, told in self.told.items():
            rows = self.numbered(name)
            for batch, good, _ in told:
                for at in range(0, len(good.body), max(1, len(good.body) // 150)):
                    body = bytearray(good.body)
                    body[at] ^= 1 << (at % 7)
                    with suppress(Rejected, AnswerUnreadable):
                        self.adapter.status(name, Reply(good.status, bytes(body), good.content_type), batch, rows)


def _all_texts(extract: Extract) -> list[str]:
    """Values that tell of the person: long enough to be no word of ours."""
    texts = {text for path in extract.fields for text in _texts(extract, path)}
    return [text for text in texts if any(c.isdigit() or not c.isascii() for c in text)]
