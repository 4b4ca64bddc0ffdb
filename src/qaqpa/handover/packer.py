"""From a register that waits to a package that is whole and sealed: which route, which keys, which files."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from qaqpa import files
from qaqpa.anonymity import Settled
from qaqpa.config.packages import Packages
from qaqpa.errors import DecisionOutdated, NotConfigured, StoreUnavailable
from qaqpa.handover import records
from qaqpa.handover.batches import BatchBuilder, Bureau
from qaqpa.handover.deciding import Deciding, FactsOfRecord, HeldUp, Packing, dry_run, settle
from qaqpa.handover.manifest import NAME, SIGNATURE, Member, manifest, packages_key, signature
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.records import Handover
from qaqpa.handover.spool import open_spool
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
ENDINGS = {SealKind.AGE: "age", SealKind.CMS: "p7m", SealKind.OPENPGP: "pgp"}
"""Of package files, by seal."""


@dataclass(frozen=True, slots=True)
class Partner:
    """A recipient of packages."""

    config: Packages
    key: PackageKey

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
    config: str
    """Digest of the configuration in force here."""
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

        Raises HeldUp where it must not be made, RegisterRefused, DecisionOutdated, StoreError.
        """
        deciding, partner = self.deciding(handover), self.partners[handover.order.recipient]
        require_valid(partner.key, self.ledger.clock())
        entered, order = await self._entered(handover), handover.order
        with (
            closing(open_spool(self.register_path(handover), self.spool_key(handover))) as file,
            self._builder(handover, deciding.route, partner) as builder,
        ):
            settled = await settle(deciding, file)
            basis = _basis(self.config, settled, self.policy.day(self.ledger.clock()))
            if any(each.figures["basis"] != basis for each in entered):
                # Rows stand in the ledger as they were cut then; what leaves must be just that.
                raise HeldUp("changed_meanwhile")
            packing = Packing(
                deciding, handover.id, builder, RowEntries(self.ledger, handover.id, partner.terms.seal.kind),
                self.still_holds(handover), basis,
            )  # fmt: skip
            await packing.run(file, entered, settled)
            counts = await self.ledger.store.read(lambda connection: records.counts(connection, handover.id))
            if not builder.rows:
                raise HeldUp("nothing_permitted")
            if order.strict and builder.rows < sum(counts.values()):
                raise HeldUp("strict", held_up_by=sum(counts.values()) - builder.rows)
            if isinstance(builder, BatchBuilder):
                digest, size = await asyncio.to_thread(builder.finish)
                return Packed({"sha256": digest, "bytes": size}, builder.rows, counts, self.config)
            checkpoint = await self.checkpoint()
            alike = packing.alike(settled)
            sums = {path: str(total) for path, total in sorted(packing.sums.items())}
            head = self._head(handover, deciding.route, builder.rows, sum(counts.values()), sums)
            package = await asyncio.to_thread(self._finish, handover, packing, builder, head, checkpoint)
        return Packed(package, builder.rows, counts, self.config, alike)

    def _builder(self, handover: Handover, route: Route, partner: Partner | Bureau) -> PackageBuilder | BatchBuilder:
        if isinstance(partner, Bureau):
            return BatchBuilder(partner, handover, self.folder_of(handover), self.spool_key(handover))
        intent = HandoverIntent(handover.id, RecipientId(handover.order.recipient))
        path = self.package_path(handover)
        return PackageBuilder(intent, partner.key, path, partner.config, route.fields, handover.since)

    async def _entered(self, handover: Handover) -> list[Entered]:
        return await self.ledger.store.read(lambda connection: entered_chunks(connection, handover.id))

    def _head(
        self, handover: Handover, route: Route, going: int, handed_in: int, sums: Mapping[str, str]
    ) -> dict[str, Json]:
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
            "rows": {"handed_in": handed_in, "go": going},
            "sums": dict(sums),
            "verifier_key": str(self.key),
        }

    @property
    def key(self) -> VerifierKey:
        """What recipients check manifests with."""
        return packages_key(self.origin, self.ledger.keyring.public)

    def _finish(
        self,
        handover: Handover,
        packing: Packing,
        builder: PackageBuilder,
        head: Mapping[str, Json],
        checkpoint: bytes,
    ) -> dict[str, Json]:
        def made(register: Member, others: Sequence[Member]) -> tuple[bytes, bytes]:
            content = manifest(head, register, others, checkpoint)
            note = signature(handover.id, content, self.key, self.ledger.keyring.sign)
            folder = self.folder_of(handover)
            try:
                files.replace(folder / NAME, content)
                files.replace(folder / SIGNATURE, note)
            except OSError as error:
                raise StoreUnavailable(f"the manifest cannot be kept: {error.strerror}; nothing was sent") from None
            return content, note

        numbered = enumerate(handover.order.documents, start=1)
        documents = [(each.member(number), self._pieces(handover, number)) for number, each in numbered]
        package, digest = builder.finish(packing.lines, documents, made)
        return {"sha256": package.sha256, "bytes": package.size, "kid": package.kid, "manifest": digest}

    def _pieces(self, handover: Handover, number: int) -> Iterator[bytes]:
        path = self.folder_of(handover) / f"{REGISTER}-document-{number}"
        with closing(open_spool(path, document_key(self.spool_key(handover), number))) as file:
            while piece := file.read(2**20):
                yield piece

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


def _basis(config: str, settled: Settled | None, day: date) -> str:
    """What rows are cut by: the configuration, and where they go de-identified how alike they all were, and on which
    day, from which ages are counted.
    """
    if settled is None:
        return config
    alike = orjson.dumps([asdict(settled.figures), day], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(config.encode() + alike).hexdigest()


def document_key(key: bytes, number: int) -> bytes:
    """The key of the file of a document, from that of its register."""
    return HKDFExpand(SHA256(), 32, b"qaqpa/document/1\0%d" % number).derive(key)


def _pseudonyms(key: bytes) -> bytes:
    """The key of a handover's pseudonyms, from that of its register: gone with it."""
    return HKDFExpand(SHA256(), 32, b"qaqpa/pseudonyms/1").derive(key)
