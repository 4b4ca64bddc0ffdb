"""What is told about the ledger to people outside it: a person's own report (7.1(1)), the register of transfers.

Each is read in one unchanging view, in a thread of its own; a person's look is an entry before anything is read.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TypeVar

import orjson

from qaqpa.alerts.records import find as find_alert
from qaqpa.config.models import Role
from qaqpa.config.recipients import RecipientFile
from qaqpa.errors import InvalidRequest, NotFound, VerificationFailed
from qaqpa.gateway.compliance import Require
from qaqpa.gateway.setup import Setup
from qaqpa.ledger import Ledger
from qaqpa.ledger.checkpoints import opened
from qaqpa.ledger.read import size_of
from qaqpa.ledger.span import Span
from qaqpa.ledger.subjects import Subject, iin_of
from qaqpa.model.decision import Asked
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.model.words import Language
from qaqpa.report.breach import Breach, Scope, read_breach
from qaqpa.report.counting import Counts, count_routes
from qaqpa.report.document import Document
from qaqpa.report.listing import list_transfers, write_workbook
from qaqpa.report.named import Checkpoint, Drawn, Names
from qaqpa.report.notice import tell_breach
from qaqpa.report.plain import plain_report
from qaqpa.report.reading import read_report
from qaqpa.report.saying import Saying
from qaqpa.report.subject import SubjectReport
from qaqpa.report.telling import tell
from qaqpa.report.transfers import TransferRegister, read_register
from qaqpa.report.typeset import pdf
from qaqpa.store import Connection

_CHECKPOINT = "SELECT time, note FROM checkpoints ORDER BY size DESC LIMIT 1"
_SHOWN = 4
"""Last digits of an IIN that tell whoever asked that it was theirs."""
EnterLook = Callable[[str, str, dict[str, str | int]], Awaitable[None]]


Told = TypeVar("Told")


class Reporting:
    """A gateway's reports."""

    def __init__(self, setup: Setup, ledger: Ledger, require: Require, enter_look: EnterLook) -> None:
        self._setup = setup
        self._ledger = ledger
        self._require = require
        self._enter_look = enter_look
        self._zone = setup.policy.operator.time_zone

    async def subject_report(self, caller: str, iin: str) -> SubjectReport:
        """Everything about the person with this IIN; of somebody unknown, or who was erased, that nothing is held.

        A person's look is an entry (`report`). Raises NotAllowed, KeyringError, VerificationFailed.
        """
        self._require(caller, Role.REVIEW)
        subject = await self._ledger.subjects.find(iin)
        about = _masked(iin)
        await self._enter_look(caller, "report", {"subject": "unknown" if subject is None else subject.id})
        if subject is None:
            return await self._drawn(
                lambda names, drawn, _: SubjectReport(names.operator, drawn, about, None, rights=names.rights())
            )
        return await self._read(subject.id, subject, about)

    async def report_of(self, caller: str, subject: str) -> SubjectReport:
        """The same of the subject whose random id stands in an entry; of one that was erased what stands in the open.

        Raises NotFound where no entry is about it, and as `subject_report`.
        """
        self._require(caller, Role.REVIEW)
        key: Subject | None
        try:
            key = await self._ledger.subjects.by_id(subject)
        except NotFound:
            key = None
        about = None if key is None else _masked(await self._ledger.store.read(partial(iin_of, subject=key)))
        report = await self._read(subject, key, about)
        if report.is_empty and key is None:
            raise NotFound("no entry is about a subject with this id")
        await self._enter_look(caller, "report", {"subject": subject})
        return report

    def document(self, report: SubjectReport, language: Language) -> Document:
        """The report in words, for a page or to be set."""
        return tell(report, language, self._zone)

    async def json(self, report: SubjectReport, language: Language) -> bytes:
        """The report as JSON (docs/reports.md)."""
        return await asyncio.to_thread(lambda: orjson.dumps(plain_report(report, Saying(language, self._zone))))

    async def pdf(self, document: Document) -> bytes:
        """A document as PDF. Raises NotPossible for one too long."""
        return await asyncio.to_thread(pdf, document)

    async def transfers(self, caller: str, span: Span, counts: Counts = count_routes) -> TransferRegister:
        """The register of transfers of a period; `counts` says how often each route was used.

        A person's look is an entry (`transfers`). Raises NotAllowed.
        """
        self._require(caller, Role.REVIEW)
        await self._enter_look(caller, "transfers", span.said())
        instruments = dict(_instruments(self._setup.config.recipients.values()))
        return await self._drawn(
            lambda names, drawn, connection: read_register(connection, names, drawn, span, instruments, counts)
        )

    def register(self, register: TransferRegister, language: Language) -> Document:
        """The register in words, to be shown or set."""
        return list_transfers(register, language, self._zone)

    async def workbook(self, register: TransferRegister, language: Language) -> bytes:
        """The register as XLSX."""

        def work() -> bytes:
            sink = io.BytesIO()
            write_workbook(sink, register, language, self._zone)
            return sink.getvalue()

        return await asyncio.to_thread(work)

    async def breach(self, caller: str, scope: Scope) -> Breach:
        """What the ledger knows for the notice of a breach. A person's look is an entry (`breach`).

        Raises NotAllowed, InvalidRequest for a period that is none or names nobody knows, NotFound for the alert.
        """
        self._require(caller, Role.REVIEW)
        policy = self._setup.policy
        unknown = {"caller": policy.callers, "recipient": policy.recipients}
        problems = [
            f"{name}: nobody of that name stands in the configuration"
            for name, known in unknown.items()
            if (given := getattr(scope, name)) is not None and given not in known
        ]
        if scope.since >= scope.until:
            problems.append("until: is not after since")
        if problems:
            raise InvalidRequest(problems)
        alert = None
        if (asked := scope.alert) is not None:
            alert = await self._ledger.store.read(lambda connection: find_alert(connection, asked))
        await self._enter_look(caller, "breach", scope.said())
        contact = self._setup.config.gateway.alerts.contact
        return await self._drawn(
            lambda names, drawn, connection: read_breach(connection, names, drawn, scope, alert=alert, contact=contact)
        )

    def notice(self, breach: Breach, language: Language) -> Document:
        """The draft of the notice in words, to be shown or set."""
        return tell_breach(breach, language, self._zone)

    async def _read(self, subject: str, key: Subject | None, about: str | None) -> SubjectReport:
        return await self._drawn(
            lambda names, drawn, connection: read_report(connection, names, drawn, subject, key=key, about=about)
        )

    async def _drawn(self, read: Callable[[Names, Drawn, Connection], Told]) -> Told:
        names, now = Names(self._setup.policy), self._ledger.clock()

        def work() -> Told:
            with self._ledger.store.snapshot() as connection:
                return read(names, self._state(connection, now), connection)

        return await asyncio.to_thread(work)

    def _state(self, connection: Connection, now: datetime) -> Drawn:
        policy = self._setup.policy
        return Drawn(now, size_of(connection), policy.version_on(policy.day(now)), self._checkpoint(connection))

    def _checkpoint(self, connection: Connection) -> Checkpoint | None:
        row = connection.execute(_CHECKPOINT).first()
        if row is None:
            return None
        time, note = row
        if not isinstance(note, bytes):
            raise VerificationFailed("the last checkpoint is not stored as bytes: run `qaqpa ledger verify`")
        found = opened(note, self._setup.log_key)[1]
        return Checkpoint(found.origin, found.size, found.root.hex(), datetime.fromisoformat(time))


def _masked(iin: str) -> str:
    return "•" * (len(iin) - _SHOWN) + iin[-_SHOWN:]


def _instruments(recipients: Iterable[RecipientFile]) -> Iterator[tuple[Asked, str]]:
    """What routes themselves cite, where their purpose is one that another document sets (1.1(24))."""
    for recipient in recipients:
        for route in recipient.routes:
            if route.instrument is not None:
                asked = Asked(CallerId(route.caller), RecipientId(recipient.id), route.operation, route.purpose)
                yield asked, route.instrument
