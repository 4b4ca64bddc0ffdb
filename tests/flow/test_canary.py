"""A canary in every field that a route does not pass is found nowhere: wire, ledger, logs, errors, output, disk."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import PEOPLE, House, give_consent, handover_document, kdp_consent, request, request_document
from qaqpa import log
from qaqpa.errors import QaqpaError
from qaqpa.model.disclosure import Sealed
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.faults import Fault
from qaqpa.transport import Transport

PERSON = PEOPLE[0]


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value with its dotted path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, path)
    else:
        yield path, str(node)


VALUES = dict(leaves(PERSON.data))
# Values that say nothing alone (a currency, a sex) occur everywhere; what identifies is long.
TELLING = {path: value for path, value in VALUES.items() if len(value) >= 6}


def files_under(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def spellings(value: str) -> Iterator[bytes]:
    yield value.encode()
    yield json.dumps(value).encode().strip(b'"')
    yield value.encode("utf-16-le")


def find_in(places: Iterator[tuple[Any, bytes]], values: dict[str, str]) -> list[tuple[Any, str]]:
    return [
        (place, path)
        for place, content in places
        for path, value in values.items()
        if any(spelling in content for spelling in spellings(value))
    ]


@asynccontextmanager
async def wiretapped(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Every sealed body as it goes to the wire, and everything that is logged."""
    bodies: list[tuple[str, bytes]] = []
    plain: list[tuple[str, bytes]] = []
    logged = io.StringIO()
    send = Transport.send

    async def listen(self: Transport, sealed: Sealed) -> Any:
        bodies.append(("wire", sealed.body))
        plain.append(("message", sealed.intent.message.body))
        return await send(self, sealed)

    monkeypatch.setattr(Transport, "send", listen)
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    log.configure(level=logging.DEBUG, stream=logged)
    try:
        yield bodies, plain, logged
    finally:
        logging.getLogger().removeHandler(handler)
        log.configure()


def test_the_canary_is_in_every_field_that_a_caller_may_hand_in() -> None:
    assert VALUES.keys() == {path for path in VOCABULARY if not path.startswith("report.")}


CONSENTS = {("state-credit-bureau", "contributions"): kdp_consent(third_parties=["state-credit-bureau"])}
"""Pension data are the state's: their consent comes through its own service."""


@pytest.mark.promise(2)
@pytest.mark.parametrize(
    ("recipient", "operation"),
    [
        ("first-credit-bureau", "credit_report"),
        ("first-credit-bureau", "score"),
        ("first-credit-bureau", "debt_burden"),
        ("state-credit-bureau", "credit_report"),
        ("state-credit-bureau", "contributions"),
        ("demo-collector", "handover"),
    ],
)
async def test_nothing_outside_the_route_leaves_or_stays(
    house: House, recipient: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = handover_document if operation == "handover" else request_document
    caller = "collections" if operation == "handover" else "loan-scoring"
    async with wiretapped(monkeypatch) as (bodies, plain, logged), house.gateway() as gateway:
        await give_consent(house, gateway, PERSON, **CONSENTS.get((recipient, operation), {}))
        document = make(PERSON, recipient=recipient, operation=operation)
        done = await gateway.disclose(caller, request(document))

        passed = set(done.sent)
        forbidden = {
            path: value
            for path, value in TELLING.items()
            if path not in passed and value not in {VALUES[each] for each in passed}
        }
        assert len(forbidden) > 30
        # What may go is really there, so the search can find something.
        assert find_in(iter(plain), {"identity.iin": PERSON.iin}) != []
        assert find_in(iter(bodies + plain), forbidden) == []
        # Nothing of the person at all stays in the clear with us, not even what was sent.
        assert find_in(files_under(house.home), TELLING) == []
        assert find_in(iter([("log", logged.getvalue().encode())]), TELLING) == []
        assert logged.getvalue() != ""


@pytest.mark.promise(2)
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in {Fault.NONE, Fault.SLOW, Fault.STALE}])
async def test_errors_name_no_value(house: House, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit("recipients/first-credit-bureau.toml", ("answer_timeout_s = 10", "answer_timeout_s = 0.3"))
    house.fcb.fault = fault
    async with wiretapped(monkeypatch) as (_, _, logged), house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with pytest.raises(QaqpaError) as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        said = f"{raised.value}{raised.value!r}{logged.getvalue()}"
        assert find_in(iter([("error", said.encode())]), TELLING) == []
        assert find_in(files_under(house.home), TELLING) == []


@pytest.mark.promise(2)
async def test_what_the_route_does_not_return_is_kept_from_the_caller(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        done = await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        answer = await _whole_answer(house)
        found = [(f"report.{path}", value) for path, value in leaves(answer)]
        returned = {value for path, value in found if path in done.returned}
        cut = {value for path, value in found if path in done.cut and len(value) >= 6} - returned
        assert len(cut) > 3
        assert not any(value in json.dumps(done.report, ensure_ascii=False) for value in cut)


async def _whole_answer(house: House) -> Any:
    """The bureau's answer as its adapter reads it, before it is cut."""
    async with house.gateway() as gateway:
        adapter = gateway.flow.adapters["first-credit-bureau"]
        seen: list[Any] = []
        decode = adapter.decode

        class Reading:
            def __getattr__(self, name: str) -> Any:
                return getattr(adapter, name)

            def decode(self, *given: Any) -> Any:
                report = decode(*given)
                seen.append(report.data)
                return report

        gateway.flow.adapters["first-credit-bureau"] = Reading()  # type: ignore[index]
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        return seen[0]


async def test_logs_keep_back_what_they_do_not_know() -> None:
    stream = io.StringIO()
    log.configure(level=logging.DEBUG, stream=stream)
    try:
        try:
            raise ValueError(PERSON.iin)  # noqa: TRY301
        except ValueError:
            log.get("test").error("failed", iin=PERSON.iin, recipient="first-credit-bureau", exc_info=True)
    finally:
        log.configure()
    line = json.loads(stream.getvalue())
    assert (line["iin"], line["recipient"], line["error_type"]) == ("[withheld]", "first-credit-bureau", "ValueError")
    assert PERSON.iin not in stream.getvalue()
