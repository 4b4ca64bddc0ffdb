"""From a register that waits to a package that is whole and sealed: which route, which keys, which files."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from qaqpa import files
from qaqpa.anonymity import Settled
from qaqpa.config import Config
from qaqpa.config.packages import Packages
from qaqpa.errors import DecisionOutdated, NotConfigured, StoreUnavailable
from qaqpa.handover import records
from qaqpa.handover.assembler import Assembler, Enclosed, Totals
from qaqpa.handover.batches import BatchBuilder, Bureau
from qaqpa.handover.deciding import Deciding, FactsOfRecord, HeldUp, Packing, dry_run, settle
from qaqpa.handover.hands import Hands, InThread, beside, in_thread
from qaqpa.handover.manifest import NAME, SIGNATURE, Member, manifest, packages_key, signature
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.records import Handover
from qaqpa.handover.resuming import require_entered, require_packed
from qaqpa.handover.spool import open_spool
from qaqpa.handover.worker import Brief
from qaqpa.ledger import Ledger, StillHolds
from qaqpa.ledger.handovers import Entered, RowEntries, entered_chunks
from qaqpa.model.disclosure import Json
from qaqpa.model.handover import HandoverIntent, HandoverState, RowResult
from qaqpa.model.identifiers import RecipientId
from qaqpa.model.words import SealKind, timestamp
from qaqpa.policy import Policy, Route
from qaqpa.seal import PackageKey, require_valid
from qaqpa.tlog.notes import VerifierKey

REGISTER = "register"
LARGE = 2 * 2**20
"""Bytes of a register, some 6,000 rows, from which a process of its own saves more time than it takes to begin."""
ENDINGS = {SealKind.AGE: "age", SealKind.CMS: "p7m", SealKind.OPENPGP: "pgp"}
"""Of package files, by seal."""


@dataclass(frozen=True, slots=True)
class Partner:
    """A recipient of packages."""

    config: Packages
    key: PackageKey
    key_file: str
    """Where the key was read from."""

    @property
    def terms(self) -> Packages:
        """What was agreed with it."""
        return self.config


@dataclass(frozen=True, slots=True)
class Packed:
    """What came of a register."""

    package: Mapping[str, Json]
    """Digest and size of the sealed file, and digest of its manifest."""
    rows: int
    counts: Mapping[RowResult, int]
    config: str
    """Digest of the configuration that the rows were decided and cut by."""
    alike: Mapping[str, Json] | None = None
    """How alike de-identified rows are, before and after (see `anonymity.Figures`)."""

    @property
    def figures(self) -> dict[str, Json]:
        """As they are noted of the handover."""
        return {
            "rows": self.rows,
            "config": self.config,
            **({} if self.alike is None else {"alike": dict(self.alike)}),
            "counts": {result.name.lower(): count for result, count in self.counts.items() if count},
            "package": dict(self.package),
        }


@dataclass(frozen=True, slots=True)
class Packer:
    """What registers are decided and packed with."""

    policy: Policy
    ledger: Ledger
    partners: Mapping[str, Partner | Bureau]
    """By recipient."""
    folder: Path
    """Where registers wait, encrypted, and packages, sealed: a folder for each handover."""
    origin: str
    """The ledger's name, under which manifests are signed."""
    config: Config
    """In force here."""
    is_suspended: Callable[[str], Awaitable[bool]]
    still_holds: Callable[[Handover], StillHolds]
    """Whether, in the transaction of an intent, configuration and recipient are as they were."""
    checkpoint: Callable[[], Awaitable[bytes]]
    """A signed checkpoint over everything that is in the ledger now."""
    spool_key: Callable[[Handover], bytes]
    """The key of its register's file."""
    facts: FactsOfRecord | None = None
    """The system of record of contracts, where there is one."""

    def deciding(self, handover: Handover, *, trial: bool = False) -> Deciding:
        """What its rows are decided with; those of a `trial` are kept nowhere. Raises DecisionOutdated."""
        route = self.route(handover)
        key = os.urandom(32) if trial else self.spool_key(handover)
        recipient = handover.order.recipient
        partner = self.partners[recipient]
        tries = partner.tried(handover) if isinstance(partner, Bureau) else None
        return Deciding(
            self.policy, route, handover.order, partner.terms.headings, tries, self.ledger,
            lambda: self.is_suspended(recipient), self.facts, _pseudonyms(key),
        )  # fmt: skip

    def route(self, handover: Handover) -> Route:
        """The route that it goes by. Raises DecisionOutdated where there is none any more."""
        route = self.policy.find(handover.order.asked)
        if route is None or handover.order.recipient not in self.partners:
            raise DecisionOutdated("the configuration has no route for this handover any more")
        return route

    def partner(self, recipient: str) -> Partner | Bureau:
        """Who takes packages there. Raises NotConfigured where none can go any more."""
        partner = self.partners.get(recipient)
        if partner is None:
            raise NotConfigured(
                f"{recipient}: takes no packages as it is configured; `qaqpa check` says what is missing"
            )
        return partner

    async def blocked(self, handover: Handover) -> int:
        """How many rows may not go; nothing is entered."""
        deciding = self.deciding(handover)
        with closing(open_spool(self.register_path(handover), self.spool_key(handover))) as file:
            return sum(
                [
                    sum(result != RowResult.PERMIT for result in judged.results)
                    async for _, judged in dry_run(deciding, file)
                ]
            )

    async def pack(self, handover: Handover) -> Packed:
        """Decide and enter every row, and write the package of those that go.

        Raises HeldUp where it must not be made, RegisterRefused, DecisionOutdated, StoreError, VerificationFailed where
        the rows that are noted to go are not those that the ledger has.
        """
        deciding, partner = self.deciding(handover), self.partners[handover.order.recipient]
        require_valid(partner.key, self.ledger.clock())
        entered, order = await self._entered(handover), handover.order
        settled = await self._settled(handover, deciding)
        now = self.ledger.clock()  # read once: what is cut by the day is cut by one
        basis = _basis(self.digest, deciding.route, settled, self.policy.day(now))
        if any(each.figures["basis"] != basis for each in entered):
            # Rows stand in the ledger as they were cut then; what leaves must be just that.
            raise HeldUp("changed_meanwhile")
        async with self._hands(handover, deciding, partner, settled, now) as hands:
            made = RowEntries(self.ledger, handover.id, partner.terms.seal.kind)
            await Packing(deciding, handover.id, hands, made, self.still_holds(handover), basis).run(entered)
            lines: array[int] = await hands.call("lines")
            await self.ledger.store.read_aside(lambda connection: require_packed(connection, handover.id, lines))
            counts = await self.ledger.store.read(lambda connection: records.counts(connection, handover.id))
            totals: Totals = await hands.call("totals")
            if not totals.rows:
                raise HeldUp("nothing_permitted")
            if order.strict and totals.rows < sum(counts.values()):
                raise HeldUp("strict", held_up_by=sum(counts.values()) - totals.rows)
            if isinstance(partner, Bureau):
                return Packed(await hands.call("finish"), totals.rows, counts, self.digest)
            checkpoint = await self.checkpoint()
            alike = _alike(deciding.route, settled, totals)
            head = self._head(handover, deciding.route, totals, sum(counts.values()))
            register, others = await hands.call("enclose", self._documents(handover))
            content, note = await asyncio.to_thread(self._manifest, handover, head, register, others, checkpoint)
            package = await hands.call("finish", content, note)
        return Packed(package, totals.rows, counts, self.digest, alike)

    async def _settled(self, handover: Handover, deciding: Deciding) -> Settled | None:
        if deciding.route.k is None:
            return None
        with closing(open_spool(self.register_path(handover), self.spool_key(handover))) as file:
            return await settle(deciding, file)

    @asynccontextmanager
    async def _hands(
        self,
        handover: Handover,
        deciding: Deciding,
        partner: Partner | Bureau,
        settled: Settled | None,
        now: datetime,
    ) -> AsyncIterator[Hands]:
        """Who assembles: for a large register that names people a process of its own, which takes a second to begin."""
        path, key = self.register_path(handover), self.spool_key(handover)
        if isinstance(partner, Partner) and settled is None and handover.order.bytes >= LARGE:
            brief = Brief(
                self.config, handover.order, _intent(handover), handover.since, now, self.policy.day(now),
                deciding.checks_facts, deciding.headings, path, key, deciding.pseudonyms, self.package_path(handover),
                partner.key_file,
            )  # fmt: skip
            async with beside(brief) as hands:
                yield hands
            return
        with closing(open_spool(path, key)) as file, self._builder(handover, deciding.route, partner) as builder:
            register = await in_thread(deciding.register, file)
            assembler = Assembler(deciding.route, file, register, await deciding.judge(settled, now), builder)
            try:
                yield InThread(assembler)
            finally:
                await in_thread(lambda: None)  # its files are closed when what it was asked last is done

    def _builder(self, handover: Handover, route: Route, partner: Partner | Bureau) -> PackageBuilder | BatchBuilder:
        if isinstance(partner, Bureau):
            return BatchBuilder(partner, handover, self.folder_of(handover), self.spool_key(handover))
        path = self.package_path(handover)
        return PackageBuilder(_intent(handover), partner.key, path, partner.config, route.fields, handover.since)

    async def _entered(self, handover: Handover) -> list[Entered]:
        """What was entered of it by a process that was killed, held against the ledger."""
        entered = await self.ledger.store.read(lambda connection: entered_chunks(connection, handover.id))
        await self.ledger.store.read_aside(
            lambda connection: require_entered(connection, handover.id, entered, self.digest)
        )
        return entered

    def _head(self, handover: Handover, route: Route, totals: Totals, handed_in: int) -> dict[str, Json]:
        order, operator, agreement = handover.order, self.policy.operator, route.recipient.agreement
        return {
            "handover": handover.id,
            "operator": {"name": operator.name, "bin": operator.bin},
            "recipient": order.recipient,
            "operation": order.operation,
            "purpose": order.purpose,
            "ground": route.ground.value,
            "clauses": list(route.clauses),
            "policy": self.policy.version_on(self.policy.day(handover.since)),
            "agreement": None if agreement is None else agreement.number,
            "taken_in": timestamp(handover.since),
            "rows": {"handed_in": handed_in, "go": totals.rows},
            "sums": dict(totals.sums),
            "verifier_key": str(self.key),
        }

    @property
    def digest(self) -> str:
        """Of the configuration in force here."""
        return self.config.digest

    @property
    def key(self) -> VerifierKey:
        """What recipients check manifests with."""
        return packages_key(self.origin, self.ledger.keyring.public)

    def _manifest(
        self,
        handover: Handover,
        head: Mapping[str, Json],
        register: Member,
        others: Sequence[Member],
        checkpoint: bytes,
    ) -> tuple[bytes, bytes]:
        """The manifest and its signature, kept beside the package."""
        content = manifest(head, register, others, checkpoint)
        note = signature(handover.id, content, self.key, self.ledger.keyring.sign)
        folder = self.folder_of(handover)
        try:
            files.replace(folder / NAME, content)
            files.replace(folder / SIGNATURE, note)
        except OSError as error:
            raise StoreUnavailable(f"the manifest cannot be kept: {error.strerror}; nothing was sent") from None
        return content, note

    def _documents(self, handover: Handover) -> list[Enclosed]:
        folder, key = self.folder_of(handover), self.spool_key(handover)
        return [
            Enclosed(each.member(number), folder / f"{REGISTER}-document-{number}", document_key(key, number))
            for number, each in enumerate(handover.order.documents, start=1)
        ]

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
        seal = self.partner(handover.order.recipient).terms.seal.kind
        return self.folder_of(handover) / f"{handover.id}.zip.{ENDINGS[seal]}"

    @contextmanager
    def alone(self, handover: Handover) -> Iterator[None]:
        """One process, and one task in it, packs a handover: a second one would write over the package of the first.

        Raises StoreUnavailable while another one is at it. A kill lets go.
        """
        try:
            descriptor = os.open(self.folder_of(handover), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnavailable(f"the files of this handover cannot be reached here: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StoreUnavailable("this handover is being packed by another process: wait for it") from None
        finally:
            os.close(descriptor)

    def was_begun(self, handover: Handover) -> bool:
        """Whether bytes of its package may have left: transport has left a mark."""
        return any(self.folder_of(handover).glob("*.mark"))

    def tidy(self, handover: Handover) -> None:
        """Remove what nobody needs any more, as it stands: the register once the package is whole, everything of a
        cancelled one, all but the manifest of one that was acknowledged. What is said of it stays in the database.
        """
        folder = self.folder_of(handover)
        match handover.state:
            case HandoverState.QUEUED | HandoverState.DECIDING:
                return
            case HandoverState.CANCELLED:
                shutil.rmtree(folder, ignore_errors=True)
                return
            case HandoverState.ACKNOWLEDGED | HandoverState.REJECTED:
                left = [path for path in folder.glob("*") if path.name not in {NAME, SIGNATURE}]
            case _:
                left = list(folder.glob(f"{REGISTER}*"))
        for path in left:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # a batch leaves no manifest
            folder.rmdir()


def _intent(handover: Handover) -> HandoverIntent:
    return HandoverIntent(handover.id, RecipientId(handover.order.recipient))


def _alike(route: Route, settled: Settled | None, totals: Totals) -> dict[str, Json] | None:
    """How alike the rows are that were written, for the report. Raises HeldUp where fewer share their quasi-identifiers
    than the route demands: what is on record of somebody changed since they were counted.
    """
    if settled is None or route.k is None:
        return None
    if totals.least < route.k:
        raise HeldUp("too_few_alike")
    return {**asdict(settled.figures), "k_after": totals.least, "classes_after": totals.classes}


def _basis(config: str, route: Route, settled: Settled | None, day: date) -> str:
    """What rows are cut by: the configuration; the day, where ages are counted from it; and where they go de-identified
    how alike they all were.
    """
    if settled is None and all(rule.transform != "age_band" for rule in route.fields.values()):
        return config
    alike = orjson.dumps([None if settled is None else asdict(settled.figures), day], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(config.encode() + alike).hexdigest()


def document_key(key: bytes, number: int) -> bytes:
    """The key of the file of a document, from that of its register."""
    return HKDFExpand(SHA256(), 32, b"qaqpa/document/1\0%d" % number).derive(key)


def _pseudonyms(key: bytes) -> bytes:
    """The key of a handover's pseudonyms, from that of its register: gone with it."""
    return HKDFExpand(SHA256(), 32, b"qaqpa/pseudonyms/1").derive(key)
