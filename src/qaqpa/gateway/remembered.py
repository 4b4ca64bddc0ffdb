"""What was answered before: the first answer to an Idempotency-Key, and a report that its route lets serve again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from qaqpa.errors import (
    BY_CODE,
    KeyringError,
    NotFound,
    Rejected,
    RequestInFlight,
    StoreUnavailable,
    ThirdPartyError,
)
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.answers import Kept, Once, Question, is_under_way, of_disclosure
from qaqpa.ledger.awaited import Awaited
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Person
from qaqpa.minimise import cut_report
from qaqpa.model.canonical import canonical
from qaqpa.model.decision import Asked, Decision
from qaqpa.model.disclosure import Disclosure, Extract, Json
from qaqpa.model.request import DisclosureRequest
from qaqpa.policy import Route

Look = Callable[[str, str, dict[str, str | int]], Awaitable[None]]
"""Enters that a caller looked, by an act, at a selection (`Compliance.enter_look`)."""
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.01, 0.1
_DISCLOSURE: TypeAdapter[Disclosure] = TypeAdapter(Disclosure)


@dataclass(frozen=True, slots=True)
class Remembered:
    """On the ledger, which keeps what is remembered sealed under the person's key."""

    ledger: Ledger
    keep_for: timedelta
    """How long a first answer is kept for its Idempotency-Key."""

    def once(self, caller: str, request: DisclosureRequest, key: str) -> Once:
        """An Idempotency-Key with what it stands for."""
        return Once(self.ledger.keyring.blind_request(caller, key), canonical(request.plain))

    async def first(self, once: Once, iin: str) -> Disclosure | None:
        """The first answer to this key; None for a new one. Raises the error that the first request ended with.

        Raises KeyReused, RequestInFlight, Unsettled and DuplicateRequest as `answers.first` does.
        """
        found = await self.ledger.first_answer(once, iin)
        if found is None:
            return None
        return await self._given(*found)

    async def concluded(self, twin: RequestInFlight, until: float) -> None:
        """Wait for a disclosure that asks the same; raises `twin` when it has none by `until` (the loop's time).

        Nothing is held meanwhile, neither a transaction nor a turn at the recipient's, so nobody waits for whoever
        waits here.
        """
        time, rest = asyncio.get_running_loop().time, _FIRST_LOOK_S
        disclosure = str(twin.disclosure)
        while True:
            if time() >= until:
                raise twin
            await asyncio.sleep(rest)
            if not await self.ledger.store.read(lambda connection: is_under_way(connection, disclosure)):
                return
            rest = min(rest * 1.5, _LONGEST_LOOK_S)

    def about(
        self,
        route: Route,
        decision: Decision,
        extract: Extract,
        person: Person,
        once: Once | None,
        stated: Mapping[str, Json],
    ) -> Memo:
        """What may be remembered of one disclosure; `stated` are the caller's facts."""
        return Memo(self, route, decision, extract, person, once, stated)

    def later(self, told: Disclosure | ThirdPartyError, awaited: Awaited, route: Route | None, now: datetime) -> Kept:
        """What is kept of an answer that came later: always, because its caller asks for it."""
        answer = _DISCLOSURE.dump_json(told) if isinstance(told, Disclosure) else _told(told)
        reuse_for = None if route is None else route.reuse_for
        if reuse_for is None or awaited.extract is None or not isinstance(told, Disclosure):
            return Kept(answer, now + self.keep_for)
        question = Question(_name(awaited.decision.asked), awaited.extract.encode(), awaited.at - reuse_for)
        return Kept(answer, now + max(self.keep_for, reuse_for), question)

    async def of_disclosure(self, caller: str, disclosure: str, look: Look) -> Disclosure:
        """What was answered to a disclosure of this caller's, once the `look` is entered, where a person looks.

        Raises the error that it ended with.

        Raises AnswerAwaited, RequestInFlight, Unsettled, and NotFound for another's or where it is not kept any more.
        """
        store = self.ledger.store
        intent = await store.read(lambda connection: next(entries_of(connection, request=disclosure), None))
        said = {} if intent is None else intent.content
        if said.get("kind") != Kind.INTENT or said.get("caller") != caller:
            raise NotFound("this caller has no disclosure with this id")
        person = await self.ledger.subjects.by_id(str(said["subject"]))
        answer = await store.read(lambda connection: of_disclosure(connection, disclosure, person))
        if answer is None:
            raise NotFound("the answer to this disclosure is not kept, or not any more")
        await look(caller, "answer", {"disclosure": disclosure})
        return await self._given(disclosure, answer)

    async def _given(self, request: str, answer: bytes) -> Disclosure:
        """`request` is what the key stands for: a disclosure, or the entry that a report served again."""
        told = orjson.loads(answer)
        if "error" in told:
            raise _error(told["error"], request)
        return await self._located(request, _read(answer))

    async def _located(self, request: str, told: Disclosure) -> Disclosure:
        """With the index of the entry that it ended with, which was not known when the answer was kept."""
        kind = Kind.REUSED if told.reused else Kind.OUTCOME
        found = await self.ledger.store.read(
            lambda connection: [entry.index for entry in entries_of(connection, request=request, kind=kind)]
        )
        return replace(told, outcome_index=found[0]) if found else told


@dataclass(frozen=True, slots=True)
class Memo:
    """What may be remembered of one disclosure, and what is remembered of the same one before."""

    remembered: Remembered
    route: Route
    decision: Decision
    extract: Extract
    person: Person
    once: Once | None
    stated: Mapping[str, Json]

    @property
    def question(self) -> Question | None:
        """What the report answers, where the route lets one serve again."""
        if self.route.reuse_for is None:
            return None
        since = self.decision.at - self.route.reuse_for
        return Question(_name(self.decision.asked), canonical(self.extract.data), since)

    async def reuse(self, still_holds: StillHolds) -> Disclosure | None:
        """A report of the same extract, fresh enough for this route: entered as `reused`, and given again."""
        ledger, decision, question = self.remembered.ledger, self.decision, self.question
        found = None if question is None else await ledger.reusable_answer(question, self.person)
        if found is None:
            return None
        first = _read(found[1])
        report, returned, cut = cut_report(first.report, self.route.returns)  # the route may be narrower since
        done = replace(
            first, decision=decision, withheld=self.extract.withheld, report=report, returned=returned,
            cut=tuple(sorted({*first.cut, *cut})), outcome_index=-1, wire_ms=0.0, reused=True,
        )  # fmt: skip
        # The key's own answer: what it is told again is this one, not what the earlier request was told.
        until = decision.at + self.remembered.keep_for
        kept = None if self.once is None else Kept(_DISCLOSURE.dump_json(done), until)
        index = await ledger.reuse(
            decision, self.extract, first.id, returned, self.person, stated=self.stated, still_holds=still_holds,
            once=self.once, kept=kept,
        )  # fmt: skip
        return replace(done, outcome_index=index)

    def of(self, told: Disclosure | ThirdPartyError) -> Kept | None:
        """What is worth keeping of an answer; None where nobody may ask for it again."""
        question = self.question if isinstance(told, Disclosure) else None
        if self.once is None and question is None:
            return None
        spans = (self.remembered.keep_for if self.once else timedelta(), self.route.reuse_for or timedelta())
        answer = _DISCLOSURE.dump_json(told) if isinstance(told, Disclosure) else _told(told)
        return Kept(answer, self.decision.at + max(spans), question)


def _name(asked: Asked) -> str:
    return f"{asked.caller} {asked.recipient} {asked.operation} {asked.purpose}"


def _read(answer: bytes) -> Disclosure:
    try:
        return _DISCLOSURE.validate_json(answer)
    except ValidationError:  # written by another version, most likely
        raise StoreUnavailable("an answer that was kept cannot be read by this version; nothing was sent") from None


def _told(error: ThirdPartyError) -> bytes:
    their_code = error.their_code if isinstance(error, Rejected) else None
    return orjson.dumps({"error": {"code": error.code, "detail": str(error), "their_code": their_code}})


def _error(told: dict[str, Any], disclosure: str) -> ThirdPartyError:
    kind = BY_CODE.get(str(told.get("code")), ThirdPartyError)
    if not issubclass(kind, ThirdPartyError):
        raise KeyringError("an answer that was kept was changed: run `qaqpa ledger verify`")
    detail = str(told.get("detail"))
    error = kind(detail, their_code=told.get("their_code")) if issubclass(kind, Rejected) else kind(detail)
    error.disclosure = disclosure
    return error
