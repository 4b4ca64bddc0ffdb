"""The demonstration: the jobs of scoring and collections on synthetic people, through the real code path.

Stand-ins of the third parties run in a process of their own; everything between them and the ledger is what
production runs: sockets, TLS, disk. It returns what happened, counted; it prints nothing.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from qaqpa.demo_handovers import Handed, Recalled, Uploaded, hand_over, recall, upload
from qaqpa.errors import Blocked, NotConfigured, ThirdPartyError, UsageError
from qaqpa.gateway import Gateway, load_setup
from qaqpa.keys import Keyring
from qaqpa.ledger.entries import PACKAGE, Kind
from qaqpa.ledger.export import export
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.subjects import Subject
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.consent import ConsentRequest
from qaqpa.model.disclosure import Disclosure
from qaqpa.model.request import DisclosureRequest, parse
from qaqpa.testing.people import Person, people

Progress = Callable[[int, int], None]
BY_TLS_ALONE = ("first-credit-bureau", "state-credit-bureau", "pension-center")
"""Their seal is TLS alone, so what they received can be held against the ledger byte for byte."""
NOT_DONE = "not done"
"""What the stand-ins say to a line that they cannot obey; to any other `ok`, or what was asked for."""
OF_DOCUMENTS = frozenset({"uploadFile", "getImportInfo", "getImportDetailInfo"})
"""What the state bureau calls the exchanges of a document."""
SANDBOXES = (*BY_TLS_ALONE, "demo-collector", "demo-cession-buyer")
ASKED = (
    ("first-credit-bureau", "credit_report"),
    ("first-credit-bureau", "score"),
    ("first-credit-bureau", "debt_burden"),
    ("state-credit-bureau", "credit_report"),
    ("state-credit-bureau", "contributions"),
    ("pension-center", "contributions"),
)
"""What scoring asks about each applicant, and whom."""
AT_ONCE = 4

KINDS = (
    *("good",) * 12, "two", "pending", "none", "expired", "not_yet_given", "withdrawn", "other_purpose",
    "other_recipient", "other_operator", "without_field", "old", "wrong_check_digit", "unknown_field", "unnamed",
)  # fmt: skip
"""What is the matter with an applicant, in turn."""


@dataclass(slots=True)
class Summary:
    """What happened, counted."""

    people: int = 0
    left: Counter[tuple[str, str, str, tuple[str, ...]]] = field(default_factory=Counter)
    """By recipient, operation, clauses, fields."""
    withheld: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By result, reason, clause."""
    malformed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """Disclosures that the third party did not serve, by code."""
    notes: Counter[str] = field(default_factory=Counter)
    added_ms: list[float] = field(default_factory=list)
    wire_ms: list[float] = field(default_factory=list)
    verified: Verified | None = None
    received: int = 0
    """Requests that the stand-ins say they got."""
    unaccounted: int = 0
    """Bodies at the bureaus and the pension centre that no intent's digest matches; anything but 0 is a leak."""
    outsider: dict[str, Any] = field(default_factory=dict)
    """What the exported ledger's own verifier says."""
    handed: list[Handed] = field(default_factory=list)
    """Whole registers, in the order of their handovers."""
    uploaded: Uploaded | None = None
    """A document of contracts, at the state bureau."""
    recalled: Recalled | None = None
    """A row that the collector is asked to destroy."""
    seconds: float = 0.0


KDP_TOKEN = {"token": "token-of-the-state-service", "public_key": "its-public-key"}
"""What the state service for access control gives with a consent; opaque to everybody but the centre."""


def consents_for(person: Person, kind: str, *, operator: Mapping[str, str], now: datetime) -> Iterator[dict[str, Any]]:
    """The consents that an applicant of this kind has given, as a caller hands them in."""
    if kind == "none":
        return
    given = now - timedelta(days={"expired": 400, "old": 200}.get(kind, 3))
    if kind == "not_yet_given":
        given = now + timedelta(minutes=4)
    consent: dict[str, Any] = {
        "subject": {"iin": person.iin},
        "operator": dict(operator),
        "given_at": given.isoformat(),
        "expires_at": (given + timedelta(days=365)).isoformat(),
        "purposes": ["cession" if kind == "other_purpose" else "application_review"],
        "third_parties": ["pension_center" if kind == "other_recipient" else "credit_bureau"],
        "cross_border": False,
        "publication": False,
        "fields": ["contact"] if kind == "without_field" else ["identity"],
        "contract": person.data["contract"]["number"],
        "policy": "2025-01",
        "evidence": {"method": "otp", "reference": f"otp-{person.iin[:6]}"},
    }
    if kind == "other_operator":
        consent["operator"] = {"name": "ТОО «Другая организация»", "bin": "190540000222"}
    if kind == "two":
        yield {
            **consent,
            "given_at": (given - timedelta(days=30)).isoformat(),
            "third_parties": ["first-credit-bureau"],
        }
    yield consent
    if kind == "good":  # state data take a consent through the state's own service (94-V art. 8(1))
        yield {
            **consent,
            "given_at": (given + timedelta(minutes=1)).isoformat(),
            "third_parties": ["pension_center", "state-credit-bureau"],
            "evidence": {"method": "kdp", "reference": f"kdp-{person.iin[:6]}", "kdp": KDP_TOKEN},
        }


def requests_for(person: Person, kind: str) -> Iterator[dict[str, Any]]:
    """What scoring asks about an applicant."""
    data = dict(person.data)
    if kind == "wrong_check_digit":
        wrong = person.iin[:11] + str((int(person.iin[11]) + 1) % 10)
        data["identity"] = {**data["identity"], "iin": wrong}
    if kind == "unknown_field":
        data["hobbies"] = ["chess"]
    if kind == "unnamed":
        data["identity"] = {key: value for key, value in data["identity"].items() if key != "last_name"}
    for recipient, operation in ASKED:
        yield {
            "recipient": recipient,
            "operation": operation,
            "purpose": "application_review",
            "data": data,
        }


def handovers_for(number: int, person: Person, today: date) -> dict[str, Any]:
    """What collections asks about a debtor; each third one has something that forbids it."""
    facts = {
        "number": person.data["contract"]["number"],
        "days_overdue": 0 if number % 6 == 4 else 95,
        "breach_notified_on": (today - timedelta(days=60)).isoformat(),
        "settlement_steps_done": number % 6 != 1,
        "restructuring_pending": False,
        "collector_clause": True,
        "suit_filed": False,
    }
    if number % 9 == 7:
        del facts["breach_notified_on"]
    return {
        "recipient": "demo-collector",
        "operation": "handover",
        "purpose": "debt_collection",
        "data": person.data,
        "facts": {"contract": facts},
    }


class Stands:
    """The stand-ins in their own process, which ends with this one."""

    def __init__(self, process: subprocess.Popen[bytes], home: Path) -> None:
        self._process = process
        self._home = home
        self.environment: dict[str, str] = orjson.loads(self._answer(b"}\n"))
        """Where a gateway's configuration finds them."""

    def fail_next(self, name: str, fault: str, times: int = 1) -> None:
        """Let the next answers of one stand-in suffer from a fault."""
        self._ask(f"{name} {fault} {times}")

    def acknowledge(self, name: str, package: str, rejected: Mapping[int, str]) -> None:
        """Let a recipient acknowledge a package: rows that it rejects with their codes."""
        rows = ",".join(f"{row}={code}" for row, code in rejected.items())
        self._ask(f"{name} acknowledge {package} {rows or '-'}")

    def opened(self, name: str) -> dict[str, dict[str, Any]]:
        """What a recipient found in each package that it opened and held against its manifest."""
        found: dict[str, dict[str, Any]] = orjson.loads(self._ask(f"{name} opened"))
        return found

    def _ask(self, line: str) -> bytes:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        said = self._answer(b"\n")
        if said.decode().strip() == NOT_DONE:
            raise UsageError(f"the stand-ins could not do this: {line}")
        return said

    def _answer(self, end: bytes) -> bytes:
        said = b""
        while not said.endswith(end):
            line = b"" if self._process.stdout is None else self._process.stdout.readline()
            if not line:
                raise NotConfigured("the stand-ins did not start, or ended: run `qaqpa sandbox` to see why")
            said += line
        return said

    def calls(self) -> list[dict[str, Any]]:
        """What reached them, by their own logs."""
        return [call for name in SANDBOXES for call in received(self._home, name)]


def received(home: Path, name: str) -> list[dict[str, Any]]:
    """The calls that one stand-in has logged, with their bodies as `bytes`."""
    log = home / "sandbox" / name / "calls.jsonl"
    lines = log.read_bytes().splitlines() if log.exists() else ()
    return [call | {"body": base64.b64decode(call["body"])} for call in map(orjson.loads, lines)]


async def unaccounted(gateway: Gateway, calls: list[dict[str, Any]]) -> int:
    """How many of the bodies that a third party received are not, byte for byte, those of intents in the ledger.

    Only for recipients whose seal is TLS alone; what was encrypted to a recipient only the recipient can compare.
    """
    with gateway.store.snapshot() as connection:
        every = (entry.content for entry in entries_of(connection, kind=Kind.INTENT))
        intents = [each for each in every if each["recipient"] in BY_TLS_ALONE and each["endpoint"] != PACKAGE]
    sent: Counter[str] = Counter()
    subjects: dict[str, Subject] = {}
    for intent in intents:
        subject = subjects.get(intent["subject"]) or await gateway.ledger.subjects.by_id(intent["subject"])
        subjects[subject.id] = subject
        sent[subject.open(intent)["sent"]] += 1
    arrived: Counter[str] = Counter()
    for call in calls:
        found = None if call["iin"] is None else await gateway.ledger.subjects.find(call["iin"])
        arrived["?" if found is None else found.digest(call["body"])] += 1
    return (arrived - sent).total()


def passphrase(home: Path) -> str:
    """What seals the keyring of an installation that only tries things out; a real one is kept elsewhere."""
    path = home / "sandbox" / "passphrase"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


@contextmanager
def stands(config: Path, home: Path, *names: str, receipts: bool = True) -> Iterator[Stands]:
    """Start the stand-ins of these names, or all that are installed, and stop them. Raises NotConfigured.

    Without `receipts` packages are acknowledged only when that is asked for.
    """
    more = () if receipts else ("--no-receipts",)
    command = (sys.executable, "-m", "qaqpa", "sandbox", *names, "--config", str(config), "--home", str(home))
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, *more, "--attached", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Stands(process, home)
    finally:
        process.communicate()  # the end of its standard input is its end


async def run(config: Path, home: Path, *, count: int, debtors: int, progress: Progress) -> Summary:
    """The whole demonstration in `home`: so many applicants, and a register of so many debtors.

    Raises QaqpaError when anything but the expected goes wrong.
    """
    started = time.perf_counter()
    summary = Summary(people=count)
    with stands(config, home, *SANDBOXES, receipts=False) as third_parties:
        setup = load_setup(config, home=home, environ={**os.environ, **third_parties.environment})
        if not setup.keyring_path.exists():
            Keyring.create(setup.keyring_path, setup.unlock).close()
        async with Gateway.open(setup) as gateway:
            await _jobs(gateway, third_parties, summary, count, progress)
            if debtors:
                summary.handed = await hand_over(gateway, third_parties, debtors, progress)
                summary.uploaded = await upload(gateway)
                summary.recalled = await recall(gateway, summary.handed[0])
            summary.received = len(third_parties.calls())
            # Documents of many contracts are about nobody alone: their intents hold another digest.
            calls = (call for name in BY_TLS_ALONE for call in received(home, name))
            arrived = [call for call in calls if call["operation"] not in OF_DOCUMENTS]
            summary.unaccounted = await unaccounted(gateway, arrived)
    with gateway.store.snapshot() as connection:
        summary.verified = verify(connection, key=setup.log_key, kept=[setup.checkpoint_path.read_bytes()])
    summary.outsider = await asked_outsider(gateway, home)
    summary.seconds = time.perf_counter() - started
    return summary


async def asked_outsider(gateway: Gateway, home: Path) -> dict[str, Any]:
    """What somebody says who has the exported ledger, its public key and Python, and nothing of ours."""
    with tempfile.TemporaryDirectory(dir=home) as name:
        folder = Path(name) / "export"
        exported = await export(gateway.store, gateway.setup.log_key, folder, lambda _done, _all: None)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(folder / "verify.py"), str(folder), "--vkey", exported.vkey, "--json",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        answer: dict[str, Any] = orjson.loads(said)
        return answer


async def _jobs(gateway: Gateway, third_parties: Stands, summary: Summary, count: int, progress: Progress) -> None:
    now = datetime.now(UTC)
    applicants = people(count, today=now.date())
    operator = {"name": gateway.policy.operator.name, "bin": gateway.policy.operator.bin}
    debtors = applicants[: max(1, count // 10)]
    total = count * (1 + len(ASKED)) + len(debtors)
    done = 0

    def tick(steps: int = 1) -> None:
        nonlocal done
        done += steps
        progress(done, total)

    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    for person, kind in zip(applicants, kinds, strict=True):
        for document in consents_for(person, kind, operator=operator, now=now):
            consent = await gateway.record_consent("loan-scoring", parse(ConsentRequest, document))
            if kind in {"withdrawn", "pending"}:
                await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=kind == "withdrawn")
        tick()

    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(caller: str, document: dict[str, Any]) -> None:
        async with slots:
            await _ask(gateway, summary, caller, document)
        tick()

    asked = (
        ask("loan-scoring", document)
        for person, kind in zip(applicants, kinds, strict=True)
        for document in requests_for(person, kind)
    )
    await asyncio.gather(*asked)
    # A bureau that errs: an answer about somebody else, one cut short, one that never comes whole.
    for fault in ("wrong_subject", "truncated", "server_error"):
        third_parties.fail_next("first-credit-bureau", fault)
        await _ask(gateway, summary, "loan-scoring", next(requests_for(applicants[0], "good")))
    handovers = (ask("collections", handovers_for(number, person, now.date())) for number, person in enumerate(debtors))
    await asyncio.gather(*handovers)


async def _ask(gateway: Gateway, summary: Summary, caller: str, document: dict[str, Any]) -> None:
    started = time.perf_counter()
    try:
        request = parse(DisclosureRequest, document)
        disclosure = await gateway.disclose(caller, request)
    except Blocked as error:
        for reason in error.decision.reasons:
            for what in reason.findings or (reason.guard,):
                summary.refused[error.decision.result.value, what, reason.clause] += 1
    except ThirdPartyError as error:
        summary.failed[error.code] += 1
    except UsageError as error:
        summary.malformed[str(error)] += 1
    else:
        _count(summary, disclosure, (time.perf_counter() - started) * 1000)


def _count(summary: Summary, disclosure: Disclosure, total_ms: float) -> None:
    decision = disclosure.decision
    asked = decision.asked
    summary.left[asked.recipient, asked.operation, ", ".join(decision.clauses), disclosure.sent] += 1
    summary.withheld.update(disclosure.withheld)
    summary.cut.update(disclosure.cut)
    summary.notes.update(note.message.en for note in decision.notes)
    summary.wire_ms.append(disclosure.wire_ms)
    summary.added_ms.append(total_ms - disclosure.wire_ms)
