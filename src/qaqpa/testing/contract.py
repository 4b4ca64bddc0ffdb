# long: one suite, read from top to bottom by whoever writes an adapter
"""The contract of an adapter as a test-suite: subclass `AdapterContract` and pytest holds your adapter to it.

It asks what the gate relies on: an adapter writes nothing but the extract, writes it as data and never as markup, reads
hostile answers without harm, names no content of an answer in an error, and does no I/O. It never opens a connection.

    class TestMyBureau(AdapterContract):
        adapter = MyBureau(MyBureau.Settings(...))
        examples = {"credit_report": extract_holding_every_field_used}
        replies = {"credit_report": a_good_reply}
"""

# ruff: noqa: S101 - asserts are what a test-suite is made of

from __future__ import annotations

import ast
import asyncio
import copy
import inspect
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from lxml import etree
from pydantic import ValidationError

from qaqpa.adapter import Adapter, LaterAdapter, SignedPart, SigningAdapter, Step
from qaqpa.errors import AnswerUnreadable, InvalidRequest, Rejected, SignatureRefused, WrongExchange
from qaqpa.model import vocabulary
from qaqpa.model.consent import KdpToken
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa.model.identifiers import DisclosureId
from qaqpa.model.recall import Recall, RecallReason
from qaqpa.model.vocabulary import VOCABULARY, FieldPath

_RECALLED = Recall("0198c5a0-0000-7000-8000-000000000003", RecallReason.REPAYMENT, date(2026, 1, 25))
EXCHANGE = Exchange(
    DisclosureId("0198c5a0-0000-7000-8000-000000000001"), datetime(2026, 1, 15, 6, 30, tzinfo=UTC), _RECALLED
)
ANOTHER = Exchange(
    DisclosureId("0198c5a0-0000-7000-8000-000000000002"), datetime(2026, 1, 15, 6, 30, tzinfo=UTC), _RECALLED
)
MARKUP = 'Қ<b a="1">&amp;\'\\]]>{{0}}%s--;'
"""Characters that end a string, an element or a template in some format, and a letter outside Latin and Russian."""

_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 10) for c in range(ord("b"), ord("k")))
    + b"]><z>&j;</z>"
)
_FILE = b'<?xml version="1.0"?><!DOCTYPE z [<!ENTITY x SYSTEM "file:///etc/hostname">]><z>&x;</z>'
_HTML = "<!doctype html><html><body><h1>502</h1><p>canary-7001 Қате</p></body></html>".encode()

_IO = {
    "aiohttp", "asyncio", "ftplib", "http", "httpx", "multiprocessing", "os", "pathlib", "requests", "shutil",
    "smtplib", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "urllib",
}  # fmt: skip
_ALLOWED = ("qaqpa.adapter", "qaqpa.errors", "qaqpa.model")


class AdapterContract:
    """What every adapter must hold. A subclass gives the adapter, and for each operation an example and a reply."""

    adapter: ClassVar[Adapter]
    examples: ClassVar[Mapping[str, Extract]]
    """By operation: an extract with a value for every field that the operation uses; none for one that goes in packages
    only."""
    replies: ClassVar[Mapping[str, Reply]]
    """By operation: a reply that decodes."""
    narrow: ClassVar[frozenset[str]] = frozenset()
    """Fields that their format restricts further than the vocabulary; encode may refuse any text in them."""
    unbound: ClassVar[frozenset[str]] = frozenset()
    """Operations whose answers do not say which request they answer; any other refuses one to another request.

    The replies of the rest are answers to `EXCHANGE`.
    """

    def strings(self, message: Message) -> list[str]:
        """Every text in a message, as its recipient reads it. Override for a format that is not XML or JSON."""
        return _strings(message)

    # --- declarations ---

    def test_every_operation_has_an_example_and_a_reply(self) -> None:
        assert self.adapter.operations, "an adapter without operations does nothing"
        # What goes as a batch is held to `qaqpa.testing.batch_contract`.
        operations = self.adapter.operations.items()
        alone = {name for name, declared in operations if not (declared.batch or declared.package_only)}
        assert set(self.examples) == alone == set(self.replies)
        for name, declared in self.adapter.operations.items():
            assert declared.name == name
            assert declared.needs <= declared.uses <= VOCABULARY.keys()
            assert all(path.startswith("report.") for path in declared.returns), f"{name} returns more than a report"
            empty = [path for path in declared.uses if name in alone and not _values(self.examples[name].data, path)]
            assert not empty, f"the example of {name} has no {empty}"

    def test_settings_refuse_unknown_keys(self) -> None:
        assert self.adapter.Settings.model_config.get("extra") == "forbid"

    def test_no_module_does_io_or_reaches_above_the_model(self) -> None:
        for path in _sources(type(self.adapter)):
            bad = [name for name in _imports(path) if name.partition(".")[0] in _IO or _reaches_up(name)]
            assert not bad, f"{path.name} imports {bad}"
            calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if _opens(node)]
            assert not calls, f"{path.name} calls open()"

    def test_what_is_signed_can_be_signed_and_checked(self) -> None:
        if any(declared.signed for declared in self.adapter.operations.values()):
            assert isinstance(self.adapter, SigningAdapter)

    # --- signatures ---

    def test_a_signed_message_is_what_the_signer_made(self) -> None:
        for name, example in self.examples.items():
            if self.adapter.operations[name].signed and isinstance(self.adapter, SigningAdapter):
                message = self.adapter.encode(name, example, EXCHANGE)
                signer = _Signer()
                signed = asyncio.run(self.adapter.sign(name, message, signer))
                assert signer.made, f"{name}: nothing was signed"
                assert signed.body == signer.made[-1], f"{name}: changed after it was signed"
                assert (signed.endpoint, signed.content_type) == (message.endpoint, message.content_type)

    def test_an_answer_that_the_signer_refuses_is_refused(self) -> None:
        for name, reply in self.replies.items():
            if self.adapter.operations[name].signed and isinstance(self.adapter, SigningAdapter):
                with pytest.raises(SignatureRefused):
                    asyncio.run(self.adapter.check(name, reply, _Signer(), EXCHANGE))

    # --- answers that come later ---

    def test_a_question_for_an_answer_is_made_of_ids_and_times(self) -> None:
        adapter: object = self.adapter
        for name in self.examples:
            if isinstance(adapter, LaterAdapter) and adapter.later(name):
                for step in (Step.FETCH, Step.STATUS, Step.CONFIRM):
                    message = adapter.follow_up(name, step, EXCHANGE, "receipt-1")
                    assert message == adapter.follow_up(name, step, EXCHANGE, "receipt-1"), f"{name}: not pure"
                    assert message.body
                    assert message.endpoint == self.adapter.operations[name].later_endpoint

    def test_whatever_is_heard_only_our_errors_are_raised(self) -> None:
        adapter: object = self.adapter
        for name in self.examples:
            if isinstance(adapter, LaterAdapter) and adapter.later(name):
                for step in Step:
                    for body in (b"", b"<", b"<a/>", b"\xff" * 99, b"<!DOCTYPE a><a/>"):
                        for status in (200, 301, 404, 500):
                            with suppress(Rejected, AnswerUnreadable):
                                adapter.hear(name, step, Reply(status, body, "text/xml"), EXCHANGE)

    # --- encode ---

    def test_a_message_is_made_from_all_that_is_used(self) -> None:
        for name, example in self.examples.items():
            message = self.adapter.encode(name, example, EXCHANGE)
            assert message.body
            assert message.content_type
            declared, adapter = self.adapter.operations[name], self.adapter
            later = isinstance(adapter, LaterAdapter) and adapter.later(name)
            assert message.endpoint == (declared.later_endpoint if later else declared.endpoint)
            head = "".join(f"{key}{value}" for key, value in message.headers.items()) + message.content_type
            assert head.isascii()
            assert head.isprintable(), f"{name}: a header with a line break"

    def test_a_message_is_made_from_what_is_needed_alone(self) -> None:
        for name, example in self.examples.items():
            declared = self.adapter.operations[name]
            texts = self.strings(self.adapter.encode(name, _keep(example, declared.needs), EXCHANGE))
            kept = {value for path in declared.needs for value in _texts(example, path)}
            for path in declared.uses - declared.needs:
                left_out = [value for value in _texts(example, path) if not any(value in other for other in kept)]
                found = [value for value in left_out if any(value in text for text in texts)]
                assert not found, f"{name}: {path} is in the message and not in the extract"

    def test_what_goes_in_packages_only_is_never_written_alone(self) -> None:
        for name, declared in self.adapter.operations.items():
            if declared.package_only:
                with pytest.raises(InvalidRequest):
                    self.adapter.encode(name, Extract({}, (), (), consent_confirmed=False), EXCHANGE)

    def test_a_recall_says_what_is_recalled_why_and_until_when(self) -> None:
        for name, example in self.examples.items():
            if self.adapter.operations[name].recalls:
                texts = self.strings(self.adapter.encode(name, example, EXCHANGE))
                for said in (_RECALLED.of, _RECALLED.reason.value, _RECALLED.due_on.isoformat()):
                    assert any(said in text for text in texts), f"{name} does not say {said}"
                with pytest.raises(InvalidRequest):
                    self.adapter.encode(name, example, replace(EXCHANGE, recall=None))

    def test_encoding_is_pure(self) -> None:
        for name, example in self.examples.items():
            before = copy.deepcopy(example.data)
            first = self.adapter.encode(name, example, EXCHANGE)
            assert first == self.adapter.encode(name, example, EXCHANGE)
            assert example.data == before, f"{name}: encode changed the extract"

    def test_a_missing_field_that_is_needed_is_an_invalid_request(self) -> None:
        for name, example in self.examples.items():
            declared = self.adapter.operations[name]
            for path in sorted(declared.needs):
                with pytest.raises(InvalidRequest) as caught:
                    self.adapter.encode(name, _keep(example, declared.uses - {path}), EXCHANGE)
                assert path in str(caught.value), f"{name}: the error does not name {path}"
                _says_none_of(caught.value, [text for used in declared.uses for text in _texts(example, used)])

    def test_every_value_comes_from_the_extract_and_hostile_characters_stay_data(self) -> None:
        for name, example in self.examples.items():
            for number, path in enumerate(sorted(self.adapter.operations[name].uses)):
                old = _texts(example, path)
                canary = f"{MARKUP}{number}"
                changed = _put(example, path, canary)
                try:
                    texts = self.strings(self.adapter.encode(name, changed, EXCHANGE))
                except InvalidRequest as error:
                    assert path in self.narrow or not _in_vocabulary(changed), f"{name} refuses a text in {path}"
                    _says_none_of(error, [canary])
                    continue
                assert any(canary in text for text in texts), f"{name}: {path} does not arrive as it was given"
                rest = [text for other in example.fields if other != path for text in _texts(example, other)]
                stale = [value for value in old if value not in "\n".join(rest) and value in "\n".join(texts)]
                assert not stale, f"{name}: a value of {path} that is not in the extract"

    def test_the_token_of_a_consent_is_written_only_where_that_is_declared(self) -> None:
        token, key = f"token{MARKUP}", f"key{MARKUP}"
        for name, example in self.examples.items():
            given = replace(example, kdp=KdpToken.model_construct(token=token, public_key=key))
            texts = self.strings(self.adapter.encode(name, given, EXCHANGE))
            written = [any(each in text for text in texts) for each in (token, key)]
            assert written == [self.adapter.operations[name].kdp] * 2, f"{name}: the token, or the key to it"

    # --- decode ---

    def test_a_good_reply_gives_only_what_is_declared(self) -> None:
        for name, reply in self.replies.items():
            report = self.adapter.decode(name, reply, EXCHANGE)
            assert report.data
            _holds(report, self.adapter.operations[name].returns, name)
            assert self.adapter.decode(name, reply, EXCHANGE) == report, f"{name}: decode is not pure"

    def test_an_answer_to_another_request_is_refused(self) -> None:
        assert self.unbound <= self.replies.keys(), f"no such operation: {sorted(self.unbound - self.replies.keys())}"
        for name, reply in self.replies.items():
            if name in self.unbound:
                continue
            with pytest.raises(WrongExchange) as caught:
                self.adapter.decode(name, reply, ANOTHER)
            _says_none_of(caught.value, _telling(reply))
            if self.adapter.operations[name].signed and isinstance(self.adapter, SigningAdapter):
                with pytest.raises(WrongExchange):
                    asyncio.run(self.adapter.check(name, reply, _Signer(believes=True), ANOTHER))

    def test_an_answer_of_another_form_is_refused(self) -> None:
        for name, reply in self.replies.items():
            for what, body in _other_forms(reply.body):
                self._refuses(name, Reply(reply.status, body, reply.content_type), f"{name}, {what}", reply)

    def test_an_answer_with_another_status_is_refused(self) -> None:
        for name, reply in self.replies.items():
            for status in (301, 302, 307, 400, 401, 403, 404, 409, 429, 500, 502, 503):
                for body in (reply.body, b"", _HTML):
                    self._refuses(name, Reply(status, body, "text/html"), f"{name}, status {status}", reply)

    def test_flipped_bits_do_no_harm(self) -> None:
        rng = random.Random(8265)  # noqa: S311 - made to be repeated
        for name, reply in self.replies.items():
            for _ in range(1000):
                body = bytearray(reply.body)
                for _ in range(rng.randrange(1, 4)):
                    body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
                try:
                    report = self.adapter.decode(name, Reply(reply.status, bytes(body), reply.content_type), EXCHANGE)
                except (Rejected, AnswerUnreadable) as error:
                    _says_none_of(error, _telling(reply))
                else:
                    _holds(report, self.adapter.operations[name].returns, name)

    def _refuses(self, name: str, reply: Reply, what: str, good: Reply) -> None:
        try:
            self.adapter.decode(name, reply, EXCHANGE)
        except (Rejected, AnswerUnreadable) as error:
            _says_none_of(error, ["canary-7001", "Қате", *_telling(good)])
        else:
            pytest.fail(f"{what}: decoded as if it were good")


class _Signer:
    """Signs nothing, notes what it was given, and believes nobody or everybody."""

    def __init__(self, *, believes: bool = False) -> None:
        self.made: list[bytes] = []
        self.believes = believes

    async def enveloped(self, xml: bytes) -> bytes:
        self.made.append(xml)
        return xml

    async def wsse(self, soap: bytes) -> bytes:
        self.made.append(soap)
        return soap

    async def verify(self, _xml: bytes, _part: SignedPart) -> None:
        if not self.believes:
            raise SignatureRefused("the contract's signer believes nobody")


# --- hostile answers -------------------------------------------------------------------------------


def _other_forms(good: bytes) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(573)  # noqa: S311 - made to be repeated
    yield "empty", b""
    yield "blank", b" \r\n\t"
    yield "words", "canary-7001 Қате".encode()
    yield "HTML", _HTML
    yield "entity bomb", _BOMB
    yield "external entity", _FILE
    yield "deep XML", b"<a>" * 100_000
    yield "deep JSON", b"[" * 100_000
    yield "another JSON", b'{"canary-7001": [1, null, NaN]}'
    yield "another XML", b"<a><b>canary-7001</b></a>"
    for part in range(1, 16):
        yield f"cut at {part}/16", good[: len(good) * part // 16]
    for number in range(20):
        yield f"random bytes {number}", rng.randbytes(rng.randrange(1, 4096))


def _says_none_of(error: BaseException, values: Iterable[str]) -> None:
    """Neither the error nor what it was raised from says one of these: both end in logs."""
    seen: BaseException | None = error
    while seen is not None:
        said = f"{seen} {seen!r} {getattr(seen, 'their_code', '')}"
        assert not [value for value in values if value in said], f"{type(seen).__name__} says content"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _telling(reply: Reply) -> list[str]:
    """Runs of the answer that could only come from it: four characters or more, with a digit or outside ASCII."""
    runs = "".join(c if c.isalnum() else " " for c in reply.body.decode("utf-8", "replace")).split()
    return sorted({run for run in runs if len(run) > 3 and not (run.isascii() and run.isalpha())})


# --- reports ---------------------------------------------------------------------------------------


def _holds(report: Report, declared: frozenset[FieldPath], name: str) -> None:
    found = {path for path, _ in _leaves(report.data, "report.")}
    assert found <= declared, f"{name} returns what it does not declare: {sorted(found - declared)}"
    text = json.dumps(report.data, allow_nan=False)
    vocabulary.Report.model_validate_json(text)
    assert not any(isinstance(value, float) for _, value in _leaves(report.data, "")), f"{name}: money as a float"
    assert report.about is None or isinstance(report.about, str)
    assert report.reference is None or isinstance(report.reference, str)


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every leaf with its path; items of a list share one."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}{key}.")
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _leaves(item, prefix)
    else:
        yield prefix.removesuffix("."), node


# --- extracts --------------------------------------------------------------------------------------


def _values(data: Mapping[str, Any], path: str) -> list[Any]:
    return [value for found, value in _leaves(data, "") if found == path and value is not None]


def _texts(extract: Extract, path: str) -> list[str]:
    """Texts at a path that are long enough to be looked for."""
    return [value for value in _values(extract.data, path) if isinstance(value, str) and len(value) > 3]


def _change(node: Any, prefix: str, change: Callable[[str, Any], Any]) -> Any:
    """A copy with every leaf changed; None takes it out, and groups left empty with it."""
    if isinstance(node, Mapping):
        parts = {key: _change(value, f"{prefix}{key}.", change) for key, value in node.items()}
        return {key: value for key, value in parts.items() if value is not None} or None
    if isinstance(node, list | tuple):
        return [value for item in node if (value := _change(item, prefix, change)) is not None] or None
    return change(prefix.removesuffix("."), node)


def _extract(extract: Extract, data: Any) -> Extract:
    fields = tuple(sorted({FieldPath(path) for path, _ in _leaves(data or {}, "")}))
    return Extract(data or {}, fields, withheld=(), consent_confirmed=extract.consent_confirmed)


def _keep(extract: Extract, paths: frozenset[FieldPath]) -> Extract:
    return _extract(extract, _change(extract.data, "", lambda path, value: value if path in paths else None))


def _put(extract: Extract, where: str, new: str) -> Extract:
    return _extract(extract, _change(extract.data, "", lambda path, value: new if path == where else value))


def _in_vocabulary(extract: Extract) -> bool:
    try:
        vocabulary.PersonalData.model_validate(extract.data)
    except ValidationError:
        return False
    return True


# --- messages and sources --------------------------------------------------------------------------


def _strings(message: Message) -> list[str]:
    if "xml" in message.content_type:
        root = etree.fromstring(message.body, etree.XMLParser(resolve_entities=False, no_network=True))
        found = [text for node in root.iter() for text in (node.text, node.tail, *node.attrib.values())]
        return [str(text) for text in found if text]
    if "json" in message.content_type:
        return [str(value) for _, value in _leaves(json.loads(message.body), "")]
    return [message.body.decode("utf-8")]


def _sources(adapter: type) -> list[Path]:
    """The adapter's own modules; its sandbox (`sandbox*.py`) is a server and no part of it."""
    source = Path(inspect.getfile(adapter))
    if source.name != "__init__.py":
        return [source]
    return [path for path in sorted(source.parent.rglob("*.py")) if not path.name.startswith("sandbox")]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _reaches_up(name: str) -> bool:
    return name.partition(".")[0] == "qaqpa" and not any(name == top or name.startswith(f"{top}.") for top in _ALLOWED)


def _opens(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
