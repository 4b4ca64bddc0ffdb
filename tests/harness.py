"""A whole installation for a test: configuration, home, third parties on real sockets, a clock that can be set."""

from __future__ import annotations

import asyncio
import atexit
import copy
import functools
import io
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qaqpa.cli import main
from qaqpa.demo import KDP_TOKEN
from qaqpa.gateway import Gateway, Setup, load_setup
from qaqpa.gateway.approvals import Approval, Done
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.ledger.agreed import Act
from qaqpa.ledger.checkpoints import opened
from qaqpa.ledger.erasure import Erased
from qaqpa.ledger.read import entries_of
from qaqpa.ledger.verify import Verified, verify
from qaqpa.model.actors import SHELL, called
from qaqpa.model.consent import Consent, ConsentRequest
from qaqpa.model.request import DisclosureRequest, parse
from qaqpa.model.words import OutcomeResult
from qaqpa.store import store_at
from qaqpa.testing.people import Person, people
from qaqpa.testing.sandbox import Sandbox
from qaqpa.tlog.notes import Checkpoint
from qaqpa_adapters.demo_cession_buyer.sandbox import DemoCessionBuyerSandbox
from qaqpa_adapters.demo_collector.sandbox import DemoCollectorSandbox
from qaqpa_adapters.first_credit_bureau.sandbox import FirstCreditBureauSandbox
from qaqpa_adapters.pension_center.sandbox import PensionCenterSandbox
from qaqpa_adapters.state_credit_bureau.sandbox import StateCreditBureauSandbox

ROOT = Path(__file__).parent.parent
PASSPHRASE = "a passphrase of the tests"
ENGINES = ("sqlite", "postgresql")
both_engines = pytest.mark.parametrize("engine", ENGINES, indirect=True)
"""The test runs on SQLite and on a real PostgreSQL."""
TODAY = datetime.now(UTC).date()
PEOPLE = people(8, today=TODAY)
DEBTOR_FACTS = {
    "days_overdue": 95,
    "breach_notified_on": (TODAY - timedelta(days=60)).isoformat(),
    "settlement_steps_done": True,
    "restructuring_pending": False,
    "collector_clause": True,
    "suit_filed": False,
}


class Clock:
    """The machine's clock, moved by `offset`."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class House:
    """An installation in a folder of its own."""

    home: Path
    config: Path
    fcb: FirstCreditBureauSandbox
    scb: StateCreditBureauSandbox
    collector: DemoCollectorSandbox
    ppc: PensionCenterSandbox
    buyer: DemoCessionBuyerSandbox
    environ: dict[str, str]
    clock: Clock = field(default_factory=Clock)

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[Gateway]:
        async with Gateway.open(self.setup(), clock=self.clock) as gateway:
            yield gateway

    def setup(self) -> Setup:
        """Its configuration, read; its database has the schema."""
        setup = load_setup(self.config, home=self.home, environ=self.environ)
        lay_database(setup.store_url, self.home)
        return setup

    async def cli(self, *arguments: str, stdin: str | None = None) -> Ran:
        """Run a command in this process, in a thread, so that the sandboxes go on serving."""
        return await asyncio.to_thread(run_cli, *arguments, stdin=stdin)

    def edit(self, file: str, *replacements: tuple[str, str]) -> None:
        """Change a configuration file; each text must stand in it."""
        path = self.config / file
        text = path.read_text()
        for old, new in replacements:
            assert old in text, f"{old!r} does not stand in {file}"
            text = text.replace(old, new)
        path.write_text(text)

    def write(self, name: str, document: Any) -> str:
        path = self.home / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    def entries(self, store: Gateway, kind: str | None = None) -> list[dict[str, Any]]:
        with store.store.snapshot() as connection:
            return [entry.content for entry in entries_of(connection, kind=kind)]

    def verified(self, gateway: Gateway) -> Verified:
        with gateway.store.snapshot() as connection:
            return verify(connection, key=gateway.setup.log_key)

    async def reached(self, stand: Sandbox[Any], calls: int = 1) -> None:
        """Wait until a third party has been called so often."""
        async with asyncio.timeout(10):
            while len(stand.calls) < calls:  # noqa: ASYNC110 - the stand-in keeps a list, not an event
                await asyncio.sleep(0.005)


@functools.cache
def _prepared_database() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="qaqpa-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store_at("sqlite:///prepared.db", folder).engine.prepare()
    return folder / "prepared.db"


def lay_database(url: str, home: Path) -> None:
    """A SQLite file with the schema in it where there would soon be one: to make it takes most of a short test's time.

    As PostgreSQL has it by a template; how it is made anew is tried by tests of commands and of migrations.
    """
    path = home / url.removeprefix("sqlite:///")
    if url.startswith("sqlite:///") and home.is_dir() and not path.exists():
        template = _prepared_database()
        assert [each.name for each in template.parent.iterdir()] == [template.name], "nothing beside it, all is in it"
        shutil.copyfile(template, path)
        path.chmod(template.stat().st_mode & 0o777)


def run_cli(*arguments: str, stdin: str | None = None) -> Ran:
    """The command line with its streams caught; only one may run at a time."""
    out, err = io.StringIO(), io.StringIO()
    old = sys.stdin
    if stdin is not None:
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main(list(arguments))
    finally:
        sys.stdin = old
    code = stop.value.code
    return Ran(int(code or 0), out.getvalue(), err.getvalue())


def consent_document(person: Person, now: datetime, **changes: Any) -> dict[str, Any]:
    """A consent that covers every bureau route."""
    return {
        "subject": {"iin": person.iin},
        "operator": {"name": "ТОО «Микрофинансовая организация»", "bin": "230340000017"},
        "given_at": (now - timedelta(days=1)).isoformat(),
        "expires_at": (now + timedelta(days=364)).isoformat(),
        "purposes": ["application_review"],
        "third_parties": ["credit_bureau"],
        "cross_border": False,
        "publication": False,
        "fields": ["identity"],
        "contract": "MK-1",
        "policy": "2025-01",
        "evidence": {"method": "otp", "reference": "otp-1"},
    } | changes


def request_document(person: Person, **changes: Any) -> dict[str, Any]:
    """A request of scoring that every guard permits once a consent is on record."""
    document: dict[str, Any] = {
        "recipient": "first-credit-bureau",
        "operation": "credit_report",
        "purpose": "application_review",
        "data": copy.deepcopy(person.data),
    }
    return document | changes


def kdp_consent(**changes: Any) -> dict[str, Any]:
    """What makes a consent of `give_consent` one for the pension centre."""
    return {
        "third_parties": ["pension_center"],
        "evidence": {"method": "kdp", "reference": "kdp-1", "kdp": KDP_TOKEN},
    } | changes


def pension_document(person: Person, **changes: Any) -> dict[str, Any]:
    """A request for contributions that every guard permits once a КДП consent is on record."""
    return request_document(person, recipient="pension-center", operation="contributions") | changes


def handover_document(person: Person, facts: Mapping[str, Any] = DEBTOR_FACTS, **changes: Any) -> dict[str, Any]:
    """A request of collections that every guard permits."""
    document: dict[str, Any] = {
        "recipient": "demo-collector",
        "operation": "handover",
        "purpose": "debt_collection",
        "data": copy.deepcopy(person.data),
        "facts": {"contract": dict(facts)},
    }
    return document | changes


def answering_later(house: House) -> House:
    """The pension centre answers later, and is asked often."""
    house.edit(
        "recipients/pension-center.toml",
        ('sync = "env:QAQPA_PPC_URL"', 'async = "env:QAQPA_PPC_ASYNC_URL"'),
        ("[settings]\n", '[later]\nfirst_s = 0.05\nevery_s = 0.2\n\n[settings]\nchannel = "async"\n'),
        ("per_second = 50\n", "per_second = 1000\n"),
    )
    return house


async def give_consent(house: House, gateway: Gateway, person: Person, **changes: Any) -> Consent:
    """Record a consent as scoring does."""
    request = parse(ConsentRequest, consent_document(person, house.clock(), **changes))
    return await gateway.record_consent("loan-scoring", request)


def request(document: Mapping[str, Any]) -> DisclosureRequest:
    """A request as the gateway takes it."""
    return parse(DisclosureRequest, dict(document))


@asynccontextmanager
async def built(folder: Path, url: str | None = None) -> AsyncIterator[House]:
    """A house with its third parties running; `url` names another database than its own SQLite file."""
    home, config = folder / "home", folder / "config"
    home.mkdir()
    shutil.copytree(ROOT / "config", config)
    fcb = FirstCreditBureauSandbox(directory=folder / "fcb", unknown_share=0, no_report_share=0)
    scb = StateCreditBureauSandbox(directory=folder / "scb", unknown_share=0, no_report_share=0)
    collector = DemoCollectorSandbox(directory=folder / "collector")
    ppc = PensionCenterSandbox(directory=folder / "ppc", unknown_share=0)
    buyer = DemoCessionBuyerSandbox(directory=folder / "buyer")
    async with fcb, scb, collector, ppc, buyer:
        stands = (fcb, scb, collector, ppc, buyer)
        environ = {key: value for stand in stands for key, value in stand.environment.items()}
        house = House(home, config, *stands, environ | {"QAQPA_PASSPHRASE": PASSPHRASE})
        if url is not None:
            house.edit("gateway.toml", ("sqlite:///qaqpa.db", url))
        Keyring.create(home / "keyring.json", Unlock(PASSPHRASE), cost=2)
        yield house


# --- what many tests do and look at ------------------------------------------------------------------


SECOND = called("Second Person", SHELL)
"""Who agrees to whatever a test's first person asks for."""


async def agreed(gateway: Gateway, caller: str, approval: Approval) -> Done:
    """Another person agrees, and it is done."""
    return (await gateway.approvals.agree(caller, SECOND, approval.id, reason="seen"))[1]


async def erase_as_two(
    gateway: Gateway,
    caller: str,
    iin: str,
    *,
    person: str = "A. Compliance",
    reason: str = "asked",
    duties_met: bool = True,
    instrument: str | None = None,
) -> Erased:
    """A person is erased, as two others want it."""
    asked = await gateway.approvals.ask_erasure(
        caller, called(person, SHELL), iin, duties_met=duties_met, instrument=instrument, reason=reason
    )
    done = await agreed(gateway, caller, asked)
    assert isinstance(done, Erased)
    return done


async def settle_as_two(
    gateway: Gateway, caller: str, disclosure: str, result: OutcomeResult, *, person: str, reason: str
) -> int:
    """What came of a disclosure, as two persons say; the index of that entry."""
    what = {"disclosure": disclosure, "result": result.value}
    asked = await gateway.approvals.ask(caller, called(person, SHELL), Act.SETTLE, what, reason)
    done = await agreed(gateway, caller, asked)
    assert isinstance(done, int)
    return done


async def grown(house: House, gateway: Gateway, people: int = 1) -> None:
    for person in PEOPLE[:people]:
        await give_consent(house, gateway, person)
        await gateway.disclose("loan-scoring", request(request_document(person)))


def outside(house: House) -> Path:
    return house.home / "checkpoint.txt"


def read_outside(house: House, gateway: Gateway) -> Checkpoint:
    return opened(outside(house).read_bytes(), gateway.setup.log_key)[1]


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.02)
