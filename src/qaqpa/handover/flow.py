"""The flow of a handover, from a register to a receipt, in the order that the policy demands.

    take in · [read · decide · intend each row · minimise · write] · seal · intend the package · send · conclude · receipt

A register with one row that must not be in it is a breach, and one sent twice or half is a dispute: so every row is
decided and in the ledger on its own, the package goes as one, and it is in the ledger before a byte of it leaves. Each
turn may be cut off anywhere, by a kill too, and is begun again from what the database says.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from qaqpa import log
from qaqpa.config.packages import Packages
from qaqpa.errors import (
    DecisionOutdated,
    NotSent,
    PackageChanged,
    QaqpaError,
    RegisterRefused,
    StoreUnavailable,
    ThirdPartyError,
)
from qaqpa.handover import records
from qaqpa.handover.deciding import Deciding, Packing, dry_run
from qaqpa.handover.manifest import NAME, SIGNATURE, Member, manifest, packages_key, signature
from qaqpa.handover.package import PackageBuilder, sums_of
from qaqpa.handover.receiving import Receipts
from qaqpa.handover.records import Handover
from qaqpa.handover.spool import open_spool
from qaqpa.jobs import Run
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.handovers import RowEntries, cancel_rows, conclude_package, entered_chunks, intend_package, moved
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverIntent, HandoverState, Package, PackageIntent, RowResult, SealedPackage
from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.model.words import OutcomeResult, SealKind, timestamp
from qaqpa.policy import Policy, Route
from qaqpa.seal import PackageKey, require_valid
from qaqpa.store import Connection
from qaqpa.transport.packages import PackageTransport

_log = log.get("handover")
KIND = "handover"
"""Of its jobs."""
OVER = -1.0
"""What a turn answers when nothing is left to do."""
REGISTER = "register"
_LOOK_AGAIN_S = 5.0
_RECEIPT_S = 60.0
"""Between two looks for a receipt, at most."""
_FIRST_REST_S, _LONGEST_REST_S = 2.0, 600.0
"""After a failure; twice as long after each."""
GIVE_UP = timedelta(days=2)
"""After which a package that could not be sent is given up: surely not sent, and a person orders it anew."""


@dataclass(frozen=True, slots=True)
class Partner:
    """A recipient of packages."""

    config: Packages
    key: PackageKey


@dataclass(frozen=True, slots=True)
class HandoverFlow:
    """What the flow works with."""

    policy: Policy
    ledger: Ledger
    transport: PackageTransport
    partners: Mapping[str, Partner]
    """By recipient."""
    folder: Path
    """Where registers wait, encrypted, and packages, sealed: a folder for each handover."""
    origin: str
    """The ledger's name, under which manifests are signed."""
    config: str
    """Digest of the configuration in force here."""
    is_suspended: Callable[[str], Awaitable[bool]]
    still_holds: Callable[[Handover], StillHolds]
    """Whether, in the transaction of an intent, configuration and recipient are as they were."""
    checkpoint: Callable[[], Awaitable[bytes]]
    """A signed checkpoint over everything that is in the ledger now."""
    spool_key: Callable[[Handover], bytes]
    """The key of its register's file."""
    receipts: Receipts
    seen: Callable[[HandoverId, HandoverState], None] = lambda _id, _state: None
    """Told of each change."""
    failures: dict[str, int] = field(default_factory=dict)
    """How often in a row a turn of a handover failed, in this process."""

    # --- the job -----------------------------------------------------------------------------------

    async def work(self, run: Run, handover: str) -> None:
        """The job of one handover: turns, and rests between them."""
        while (rest := await run.step("turn", lambda: self._turn(HandoverId(handover)))) >= 0:
            if rest:
                await run.sleep(rest)

    async def _turn(self, handover: HandoverId) -> float:
        """One turn: seconds to rest before the next, or OVER. Raises nothing that a later turn could mend."""
        try:
            now = await self._load(handover)
            rest = await self._step(now)
        except QaqpaError as error:
            failed = self.failures[handover] = self.failures.get(handover, 0) + 1
            _log.warning("handover waits", handover=handover, code=error.code, failed=failed)
            return float(min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(failed - 1, 20)))
        self.failures.pop(handover, None)
        return rest

    async def _step(self, handover: Handover) -> float:
        match handover.state:
            case HandoverState.QUEUED:
                await self._to(handover, HandoverState.DECIDING)
                return 0
            case HandoverState.DECIDING:
                return await self._decide(handover)
            case HandoverState.PACKAGED:
                return await self._packaged(handover)
            case HandoverState.SENDING:
                return await self._send(handover)
            case HandoverState.SENT:
                return await self._await_receipt(handover)
            case _:
                return OVER

    async def _load(self, handover: HandoverId) -> Handover:
        return await self.ledger.store.read(lambda connection: records.find(connection, handover))

    async def _to(self, handover: Handover, state: HandoverState, **figures: Json) -> Handover:
        """Move on. Raises DecisionOutdated where somebody (a cancellation) was faster."""
        changed = replace(handover, state=state, figures={**handover.figures, **figures})
        await self.ledger.store.write(lambda connection: self._moved(connection, handover, changed))
        self.seen(handover.id, state)
        return changed

    def _moved(self, connection: Connection, before: Handover, after: Handover) -> None:
        moved(connection, before.id, before.state, after.state, after.figures, timestamp(self.ledger.clock()))

    # --- decide and pack ---------------------------------------------------------------------------

    def deciding(self, handover: Handover) -> Deciding:
        """What its rows are decided with. Raises NotPossible where no route is left for it."""
        route = self.route(handover)
        key = self.spool_key(handover) if handover.wrapped is not None else b""
        recipient = handover.order.recipient
        return Deciding(
            self.policy, route, handover.order, self.partners[recipient].config, self.ledger,
            lambda: self.is_suspended(recipient), _pseudonyms(key),
        )  # fmt: skip

    def route(self, handover: Handover) -> Route:
        """The route that it goes by. Raises DecisionOutdated where there is none any more."""
        route = self.policy.find(handover.order.asked)
        if route is None or handover.order.recipient not in self.partners:
            raise DecisionOutdated("the configuration has no route for this handover any more")
        return route

    async def _decide(self, handover: Handover) -> float:
        """Every row, and the package of those that may go. What cannot be read or must not go ends the handover."""
        try:
            if handover.order.strict and not handover.figures.get("screened"):
                handover = await self._screened(handover)
            entered = await self.ledger.store.read(lambda connection: entered_chunks(connection, handover.id))
            if any(each.figures["config"] != self.config for each in entered):
                # Rows stand in the ledger as an older configuration cut them; what leaves must be just that.
                return await self.cancel(handover, "configuration_changed")
            return await self._pack(handover)
        except RegisterRefused as error:
            _log.warning("register refused", handover=handover.id, problems=error.problems)
            return await self.cancel(handover, error.code, problems=list(error.problems))
        except _Strict as stop:
            return await self.cancel(handover, "strict", held_up_by=stop.rows)

    async def _screened(self, handover: Handover) -> Handover:
        """A strict handover is decided twice: first dry, so that one bad row leaves no trace of the others."""
        deciding = self.deciding(handover)
        with closing(open_spool(self.register_path(handover), self.spool_key(handover))) as file:
            blocked = 0
            async for _, judged in dry_run(deciding, file):
                blocked += sum(result != RowResult.PERMIT for result in judged.results)
        if blocked:
            raise _Strict(blocked)
        return await self._to(handover, HandoverState.DECIDING, screened=True)

    async def _pack(self, handover: Handover) -> float:
        deciding, partner = self.deciding(handover), self.partners[handover.order.recipient]
        require_valid(partner.key, self.ledger.clock())
        route, order = deciding.route, handover.order
        intent = HandoverIntent(handover.id, RecipientId(order.recipient))
        entered = await self.ledger.store.read(lambda connection: entered_chunks(connection, handover.id))
        path = self.package_path(handover)
        with (
            closing(open_spool(self.register_path(handover), self.spool_key(handover))) as file,
            PackageBuilder(intent, partner.key, path, partner.config, route.fields, handover.since) as builder,
        ):
            packing = Packing(
                deciding, handover.id, builder, RowEntries(self.ledger, handover.id, partner.config.seal.kind),
                self.still_holds(handover), self.config,
            )  # fmt: skip
            await packing.run(file, entered)
            counts = await self.ledger.store.read(lambda connection: records.counts(connection, handover.id))
            if not builder.rows:
                return await self.cancel(handover, "nothing_permitted")
            if order.strict and builder.rows < sum(counts.values()):
                return await self.cancel(handover, "strict")
            checkpoint = await self.checkpoint()
            package, digest = await asyncio.to_thread(self._finish, handover, packing, route, counts, checkpoint)
        await self._to(
            handover, HandoverState.PACKAGED,
            rows=builder.rows, counts={result.name.lower(): count for result, count in counts.items() if count},
            package={"sha256": package.sha256, "bytes": package.size, "manifest": digest, "kid": package.kid},
        )  # fmt: skip
        await self._forget_register(handover)
        return 0

    def _finish(
        self, handover: Handover, packing: Packing, route: Route, counts: Mapping[RowResult, int], checkpoint: bytes
    ) -> tuple[Package, str]:
        order, operator = handover.order, self.policy.operator
        key = packages_key(self.origin, self.ledger.keyring.public)
        with self.ledger.store.snapshot() as connection:
            sums = sums_of(each.figures for each in entered_chunks(connection, handover.id))
        head: dict[str, Json] = {
            "handover": handover.id,
            "operator": {"name": operator.name, "bin": operator.bin},
            "recipient": order.recipient,
            "operation": order.operation,
            "purpose": order.purpose,
            "ground": route.ground.value,
            "clauses": list(route.clauses),
            "policy": self.policy.version_on(self.policy.day(handover.since)),
            "agreement": route.recipient.agreement.number if route.recipient.agreement else None,
            "taken_in": timestamp(handover.since),
            "rows": {"handed_in": sum(counts.values()), "go": packing.builder.rows},
            "sums": sums,
            "verifier_key": str(key),
        }

        def made(register: Member, others: Sequence[Member]) -> tuple[bytes, bytes]:
            content = manifest(head, register, others, checkpoint)
            note = signature(handover.id, content, key, self.ledger.keyring.sign)
            folder = self.folder_of(handover)
            (folder / NAME).write_bytes(content)
            (folder / SIGNATURE).write_bytes(note)
            return content, note

        documents = [
            (each.member(number), self._pieces(handover, number)) for number, each in enumerate(order.documents, start=1)
        ]
        return packing.builder.finish(packing.lines, documents, made)

    def _pieces(self, handover: Handover, number: int) -> Iterator[bytes]:
        path = self.folder_of(handover) / f"{REGISTER}-document-{number}"
        with closing(open_spool(path, document_key(self.spool_key(handover), number))) as file:
            while piece := file.read(2**20):
                yield piece

    # --- send --------------------------------------------------------------------------------------

    async def _packaged(self, handover: Handover) -> float:
        """Wait for the recipient's window and turn; then the ledger first."""
        rest = await self._turn_comes_in(handover)
        if rest:
            return rest
        route, config = self.route(handover), self.partners[handover.order.recipient].config
        policy: dict[str, Json] = {
            "policy": self.policy.version_on(self.policy.day(self.ledger.clock())),
            "ground": route.ground.value,
            "clauses": list(route.clauses),
        }
        after = replace(handover, state=HandoverState.SENDING)
        await intend_package(
            self.ledger, handover.id, handover.order.asked, policy,
            seal=config.seal.kind, rows=handover.figures["rows"], package=dict(handover.figures["package"]),
            still_holds=self.still_holds(handover),
            move=lambda connection: self._moved(connection, handover, after),
        )  # fmt: skip
        self.seen(handover.id, HandoverState.SENDING)
        return 0

    async def _send(self, handover: Handover) -> float:
        """Bring the package there. In doubt nothing is sent again: the recipient's machine is asked first."""
        package = self.sealed(handover)
        sending = asyncio.ensure_future(self.transport.deliver(package, lambda _bytes: None))
        watching = asyncio.ensure_future(self._wanted(handover.id, sending))
        try:
            await sending
        except asyncio.CancelledError:
            if not (sending.cancelled() and (await self._load(handover.id)).figures.get("cancel")):
                raise
            await self._discarded(package)
            return await self._ended(handover, OutcomeResult.NOT_SENT, "cancelled", HandoverState.CANCELLED)
        except PackageChanged as error:
            return await self._ended(handover, OutcomeResult.NOT_SENT, error.code, HandoverState.CANCELLED)
        except NotSent as error:
            if self.ledger.clock() - handover.changed > GIVE_UP:
                await self._discarded(package)
                return await self._ended(handover, OutcomeResult.NOT_SENT, error.code, HandoverState.CANCELLED)
            raise
        except ThirdPartyError as error:
            arrived = await self.transport.arrived(package)
            if arrived is None:
                return await self._ended(handover, OutcomeResult.UNKNOWN, error.code, HandoverState.UNKNOWN)
            if not arrived:
                raise
        finally:
            watching.cancel()
            sending.cancel()
        await self._ended(handover, OutcomeResult.DELIVERED, "ok", HandoverState.SENT)
        return _LOOK_AGAIN_S

    async def _wanted(self, handover: HandoverId, sending: asyncio.Future[None]) -> None:
        """Stops the sending when a person, in whatever process, cancels it."""
        while not sending.done():
            await asyncio.sleep(1)
            if (await self._load(handover)).figures.get("cancel"):
                sending.cancel()
                return

    async def _discarded(self, package: SealedPackage) -> None:
        with suppress(ThirdPartyError):
            await self.transport.discard(package)

    def sealed(self, handover: Handover) -> SealedPackage:
        """The package, with the intent to send it that stands in the ledger."""
        figures, recipient = handover.figures["package"], RecipientId(handover.order.recipient)
        seal = self.partners[recipient].config.seal.kind
        intent = PackageIntent(handover.id, -1, recipient, seal, figures["sha256"], figures["bytes"])
        path = self.package_path(handover)
        return SealedPackage(intent, path, path.name)

    async def _turn_comes_in(self, handover: Handover) -> float:
        """Seconds until it may be tried: the window is closed, another one goes first, or the day's number is full."""
        config, now = self.partners[handover.order.recipient].config, self.ledger.clock()
        if wait := until_open(config, now.astimezone(self.policy.operator.time_zone)):
            return min(wait, _LONGEST_REST_S)
        others = await self.ledger.store.read(
            lambda connection: records.in_states(connection, HandoverState.PACKAGED, HandoverState.SENDING)
        )
        rank = _rank(handover)
        first = any(
            each.order.recipient == handover.order.recipient
            and (each.state is HandoverState.SENDING or _rank(each) < rank)
            for each in others
            if each.id != handover.id
        )
        if first:
            return _LOOK_AGAIN_S
        if config.per_day is not None:
            since = timestamp(now - timedelta(days=1))
            sent = await self.ledger.store.read(lambda c: records.sent_since(c, handover.order.recipient, since))
            if sent >= config.per_day:
                return _LONGEST_REST_S
        return 0

    # --- after it left -----------------------------------------------------------------------------

    async def _await_receipt(self, handover: Handover) -> float:
        """Look for receipts; a late one is told of once."""
        await self.receipts.look(handover.order.recipient)
        due = handover.changed + self.partners[handover.order.recipient].config.receipts.due
        if self.ledger.clock() > due and not handover.figures.get("receipt_late"):
            current = await self._load(handover.id)
            if current.state is HandoverState.SENT:
                _log.warning("receipt late", handover=handover.id, recipient=handover.order.recipient)
                await self._to(current, HandoverState.SENT, receipt_late=True)
        return _RECEIPT_S if handover.figures.get("receipt_late") else _LOOK_AGAIN_S

    # --- the end -----------------------------------------------------------------------------------

    async def _ended(
        self, handover: Handover, result: OutcomeResult, code: str, state: HandoverState, **figures: Json
    ) -> float:
        """Conclude every row of a package that was intended, and move on."""
        after = replace(handover, state=state, figures={**handover.figures, "code": code, **figures})
        await conclude_package(
            self.ledger, handover.id, result, code, handover.figures["rows"],
            lambda connection: self._moved(connection, handover, after),
        )  # fmt: skip
        self.seen(handover.id, state)
        if state is HandoverState.CANCELLED:
            self._remove(handover)
        return OVER if state in {HandoverState.CANCELLED, HandoverState.UNKNOWN} else 0

    async def cancel(self, handover: Handover, code: str, **figures: Json) -> float:
        """End a handover of which nothing was sent: its rows that stand in the ledger are concluded as not sent.

        Raises DecisionOutdated where it has moved on meanwhile.
        """
        after = replace(handover, state=HandoverState.CANCELLED, figures={**handover.figures, "code": code, **figures})

        def move(connection: Connection) -> None:
            self._moved(connection, handover, after)
            records.forget_key(connection, handover.id)

        rows = await self.ledger.store.read(lambda connection: records.counts(connection, handover.id))
        if rows[RowResult.PERMIT]:
            # Counted again in the transaction: another process may be at it.
            await cancel_rows(self.ledger, handover.id, code, move)
        else:
            await self.ledger.store.write(move)
        self.seen(handover.id, HandoverState.CANCELLED)
        self._remove(handover)
        return OVER

    async def _forget_register(self, handover: Handover) -> None:
        """The package is whole: nobody needs to read the register again."""
        await self.ledger.store.write(lambda connection: records.forget_key(connection, handover.id))
        for path in self.folder_of(handover).glob(f"{REGISTER}*"):
            path.unlink(missing_ok=True)

    def _remove(self, handover: Handover) -> None:
        """Registers, documents, package. What is said of it stays in the database."""
        shutil.rmtree(self.folder_of(handover), ignore_errors=True)

    # --- files -------------------------------------------------------------------------------------

    def folder_of(self, handover: Handover) -> Path:
        """Where its files are."""
        return self.folder / handover.id

    def register_path(self, handover: Handover) -> Path:
        """The register, encrypted. Raises StoreUnavailable where it was taken in on another machine."""
        path = self.folder_of(handover) / REGISTER
        if not path.exists():
            raise StoreUnavailable(
                "the register of this handover is not on this machine: let the gateway that took it in run, or share "
                "the folder handovers of the home"
            )
        return path

    def package_path(self, handover: Handover) -> Path:
        """The sealed package."""
        seal = self.partners[handover.order.recipient].config.seal.kind
        return self.folder_of(handover) / f"{handover.id}.zip.{ENDINGS[seal]}"


ENDINGS = {SealKind.AGE: "age", SealKind.CMS: "p7m", SealKind.OPENPGP: "pgp"}
"""Of package files, by seal."""


def _rank(handover: Handover) -> tuple[int, datetime, str]:
    return -handover.order.priority, handover.since, handover.id


def until_open(config: Packages, now: datetime) -> float:
    """Seconds from `now`, by the operator's clock, until a window of the recipient is open; 0 while one is."""
    if not config.windows:
        return 0
    waits = []
    for window in config.windows:
        opens = datetime.combine(now.date(), window.opens, now.tzinfo)
        closes = datetime.combine(now.date(), window.closes, now.tzinfo)
        if opens <= now < closes:
            return 0
        waits.append(((opens if now < opens else opens + timedelta(days=1)) - now).total_seconds())
    return min(waits)


def document_key(key: bytes, number: int) -> bytes:
    """The key of the file of a document, from that of its register."""
    return HKDFExpand(SHA256(), 32, b"qaqpa/document/1\0%d" % number).derive(key)


def _pseudonyms(key: bytes) -> bytes:
    """The key of a handover's pseudonyms, from that of its register: gone with it."""
    return HKDFExpand(SHA256(), 32, b"qaqpa/pseudonyms/1").derive(key) if key else b""


class _Strict(Exception):
    """Rows stand in the way of a strict handover."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
