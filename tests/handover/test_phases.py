"""The two phases of a cession over HTTPS, sealed for OpenSSL and GnuPG: first nobody's portfolio, then the claims; and
what no route passes is found nowhere.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

import recipients
from harness import DEBTOR_FACTS, TODAY, House
from qaqpa import log
from qaqpa.anonymity import measure
from qaqpa.gateway import Gateway
from qaqpa.handover.manifest import verified
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.packages import ReceiptFault
from qaqpa.testing.people import Person, people
from qaqpa.testing.upload_recipient import UploadRecipient
from qaqpa.tlog.notes import VerifierKey
from registers import agency, manifest_in, opened, order, pieces
from turning import bare, examined, results, standing, still, turned

SENT, CANCELLED, ACKNOWLEDGED = HandoverState.SENT, HandoverState.CANCELLED, HandoverState.ACKNOWLEDGED
CLAIM = DEBTOR_FACTS | {
    "days_overdue": 800, "secured_by_home": False, "remedies_exhausted": True, "cession": "ДЦ-1/2026",
}  # fmt: skip
COLUMNS = (
    "identity.iin", "identity.last_name", "identity.birth_date", "contact.registered_address", "contract.number",
    "contract.signed_on", "contract.matures_on", "contract.currency", "contract.amount", "contract.total_due",
    "contract.days_overdue",
)  # fmt: skip
PACKAGES = """
[packages]
[packages.channel]
kind = "https"
ca = "env:QAQPA_COLLECTOR_CA"
private_networks = ["env:QAQPA_COLLECTOR_NETWORKS"]
[packages.channel.endpoints]
packages = "env:QAQPA_COLLECTOR_PACKAGES_URL"
receipts = "env:QAQPA_COLLECTOR_RECEIPTS_URL"
[packages.receipts]
key = "env:QAQPA_COLLECTOR_RECEIPT_KEY"
[packages.register]
delimiter = ","
columns = [{columns}]
[packages.seal]
key = "{key}"
{seal}
"""


def line(person: Person, **facts: Any) -> dict[str, Any]:
    """Everything that is known of a person and their loan, as a line of JSON."""
    found: dict[str, Any] = {f"facts.contract.{name}": value for name, value in (CLAIM | facts).items()}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                walk(value, f"{path}.{name}" if path else name)
        elif not isinstance(node, list):
            found[path] = node

    walk(person.data, "")
    return found | {"contract.days_overdue": 800}


def as_jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False, default=str).encode() + b"\n" for each in lines)


class Buyer:
    """The buyer with its key and its tool."""

    def __init__(self, upload: UploadRecipient, key: recipients.Recipient) -> None:
        self.upload, self._key = upload, key

    def package(self, handover: str) -> zipfile.ZipFile:
        [path] = [each for each in self.upload.packages if each.name.startswith(handover)]
        return zipfile.ZipFile(io.BytesIO(self._key.open(path.read_bytes())))

    def register(self, handover: str) -> list[dict[str, str]]:
        text = self.package(handover).read("register.csv").decode()
        return list(csv.DictReader(io.StringIO(text)))


@asynccontextmanager
async def buying(house: House, folder: Path, tool: str) -> AsyncIterator[Buyer]:
    key = recipients.recipient(tool)
    (folder / "buyer.key").write_bytes(key.public)
    seal = "\n".join(f'{name} = "{value}"' for name, value in key.seal.items())
    columns = ", ".join(f'{{ heading = "{path}", field = "{path}" }}' for path in COLUMNS)
    path = house.config / "recipients" / "demo-cession-buyer.toml"
    text = re.sub(r"(?ms)^\[packages\].*?(?=^\[limits\])", "", path.read_text())
    path.write_text(text + PACKAGES.format(columns=columns, key=folder / "buyer.key", seal=seal))
    async with UploadRecipient(directory=folder / "buyer") as upload:
        house.environ |= upload.environment
        yield Buyer(upload, key)


async def handed(gateway: Gateway, lines: list[dict[str, Any]], operation: str, **asked: Any) -> Handover:
    asked = {"recipient": "demo-cession-buyer", "operation": operation, "purpose": "cession", **asked}
    name = (await gateway.handovers.order(order(**asked), pieces(as_jsonl(lines)))).id
    return await turned(gateway, name, SENT, CANCELLED)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An installation without third parties."""
    monkeypatch.setattr("qaqpa.handover.deciding.CHUNK", 50)
    return bare(tmp_path)


@pytest.mark.promise(2)
@pytest.mark.parametrize("tool", ["openssl, ECDH-ES", "gpg, Curve25519"])
async def test_a_cession_in_its_two_phases(home: House, tmp_path: Path, tool: str) -> None:
    persons = people(160, seed=11, today=TODAY)
    lines = [line(person) for person in persons]
    for at in range(40):  # some stay behind, and make nobody look alike
        lines[at]["facts.contract.cession"] = "ДЦ-1/2026"
        lines[at]["facts.contract.days_overdue"] = lines[at]["contract.days_overdue"] = 0 if at < 3 else 800
    async with buying(home, tmp_path, tool) as buyer, still(home) as gateway:
        first, second = [await handed(gateway, lines, "portfolio_preview") for _ in range(2)]
        assert first.state is SENT, first.figures
        rows_ = buyer.register(first.id)
        counted = results(gateway, first.id)
        alike = first.figures["alike"]
        assert counted["PERMIT"] == len(rows_) == first.figures["rows"] and counted["SUPPRESSED"] == alike["suppressed"]
        assert alike["rows"] == counted["PERMIT"] + counted["SUPPRESSED"], "who stays behind makes nobody alike"
        quasi = gateway.policy.find(order(**asked("portfolio_preview")).asked).quasi  # type: ignore[union-attr]
        found = measure(tuple(each[path] for path in quasi) for each in rows_)
        assert found.k == alike["k_after"] >= 5 and found.rows == len(rows_)
        assert set(rows_[0]) == set(COLUMNS) - {"identity.iin", "identity.last_name"}

        # Of nobody: in no member of the package, in no spelling.
        package = buyer.package(first.id)
        whole = b"\n".join(package.read(name) for name in package.namelist())
        telling = {
            value
            for each in lines
            for path, value in each.items()
            if path.startswith(("identity.", "contact.", "contract.number", "bank.", "device.")) and len(str(value)) > 5
        } - {"female"}
        assert len(telling) > 1_000
        assert [value for value in telling if str(value).encode() in whole] == []
        pseudonyms = [{each["contract.number"] for each in buyer.register(name)} for name in (first.id, second.id)]
        assert len(pseudonyms[0]) == len(rows_) and not pseudonyms[0] & pseudonyms[1]
        manifest = manifest_in(package)
        verified(
            package.read("manifest.json"), package.read("manifest.sig"), VerifierKey.parse(manifest["verifier_key"])
        )
        assert "contract.amount" not in manifest["sums"], "a sum of what was made coarser would tell what it was"

        # The claims themselves, only under an agreement that is on record.
        for cession in ("ДЦ-9/2026", None):
            unknown = [{**each, "facts.contract.cession": cession} for each in lines[40:50]]
            refused = await handed(gateway, unknown, "assignment")
            assert refused.state is CANCELLED and refused.figures["code"] == "nothing_permitted", cession
        strict = await handed(gateway, lines, "assignment", strict=True)
        assert strict.state is CANCELLED and strict.figures["code"] == "strict" and strict.figures["held_up_by"] == 3
        assert results(gateway, strict.id) == {}, "one bad row leaves no trace of the others"
        assigned = await handed(gateway, lines, "assignment")
        went = buyer.register(assigned.id)
        assert [each["identity.iin"] for each in went] == [each["identity.iin"] for each in lines[3:]]
        buyer.upload.acknowledge(next(each.name for each in buyer.upload.packages if each.name.startswith(assigned.id)))
        await turned(gateway, assigned.id, ACKNOWLEDGED)
        await gateway.handovers.flow._turn(assigned.id)
        examined(home, gateway, buyer.upload)


async def test_a_row_that_is_denied_meanwhile_does_not_make_the_others_stand_out(home: House, tmp_path: Path) -> None:
    """Counted among six alike, and then four of them may not go: the two that are left would be known."""
    person = people(1, seed=11, today=TODAY)[0]
    lines = [line(person) | {"contract.number": f"A-{at}"} for at in range(6)]
    async with buying(home, tmp_path, "openssl, ECDH-ES") as buyer, still(home) as gateway:
        flow = gateway.handovers.flow
        name = (await gateway.handovers.order(order(**asked("portfolio_preview")), pieces(as_jsonl(lines)))).id

        class Record:
            """A system of record in which four loans are repaid after the first pass."""

            asked = 0

            async def ask(self, numbers: Any) -> dict[str, Any]:
                self.asked += 1
                days = [0 if self.asked > 1 and at < 4 else 800 for at in range(6)]
                return {f"A-{at}": ContractFacts.model_validate(CLAIM | {"days_overdue": days[at]}) for at in range(6)}

        watched = replace(flow, packer=replace(flow.packer, facts=Record()))
        found = await turned(gateway, name, SENT, CANCELLED, flow=watched)
        assert found.state is CANCELLED and found.figures["code"] == "too_few_alike", found.figures
        assert examined(home, gateway, buyer.upload)[name]["result"] == "not_sent"


def asked(operation: str) -> dict[str, str]:
    return {"recipient": "demo-cession-buyer", "operation": operation, "purpose": "cession"}


@pytest.mark.promise(2)
async def test_a_canary_in_every_other_field_is_found_nowhere(home: House, tmp_path: Path) -> None:
    person = people(1, seed=77, today=TODAY)[0]
    lines = [line(each) for each in people(3, seed=5, today=TODAY)] + [line(person)]
    lines[1]["facts.contract.settlement_steps_done"] = False
    lines[2]["identity.iin"] = "900101300124"
    logged = io.StringIO()
    log.configure(level=logging.DEBUG, stream=logged)
    try:
        async with agency(home, tmp_path / "agency") as collector, home.gateway() as gateway:  # jobs run, so have books
            taken = await gateway.handovers.order(order(format="jsonl"), pieces(as_jsonl(lines)))
            async with asyncio.timeout(30):
                while not collector.packages:  # noqa: ASYNC110 - the stand-in keeps a folder, not an event
                    await asyncio.sleep(0.02)
            [path] = collector.packages
            route = gateway.policy.find(order().asked)
            assert route is not None
            package = opened(collector, path.name)
            passed = set(route.fields)
            told = {str(value) for each in lines for at, value in each.items() if at in passed}
            other = {
                str(value)
                for each in lines
                for at, value in each.items()
                if at in VOCABULARY and at not in passed and len(str(value)) > 5
            } - told
            every = {str(value) for each in lines for at, value in each.items() if at in VOCABULARY}
            telling = {value for value in every if len(value) > 7 and not re.fullmatch("[a-z ]+", value)} - {str(TODAY)}
            members = b"\n".join(package.read(name) for name in package.namelist())
            assert person.iin.encode() in members, "what may go is there, so the search can find something"
            assert len(other) > 30 and found_in(other, {"package": members}) == []
            async with asyncio.timeout(30):
                while (await standing(gateway, taken.id)).state is not SENT:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
            collector.acknowledge(path.name, fault=ReceiptFault.UNSIGNED)
            await gateway.handovers.flow.receipts.look("demo-collector")
            findings = str(await gateway.handovers.findings("collections", taken.id)).encode()
        places = {str(path): path.read_bytes() for path in home.home.rglob("*") if path.is_file()}
        [manifest] = [name for name in places if name.endswith("manifest.json")]
        sums = json.loads(places[manifest])["sums"].values()  # which may be what a single person owes
        places[manifest] = b"".join(
            part for part in places[manifest].splitlines() if not any(each.encode() in part for each in sums)
        )
        assert any("jobs" in name for name in places)
        places |= {"log": logged.getvalue().encode(), "metrics": generate_latest(REGISTRY), "findings": findings}
        assert found_in(telling | {person.iin}, places) == []
        assert places["log"]
    finally:
        log.configure()


def found_in(words: set[str], places: dict[str, bytes]) -> list[tuple[str, str]]:
    return [
        (name, word)
        for name, content in places.items()
        for word in words
        if any(word.encode(codec, "replace") in content for codec in ("utf-8", "cp1251", "utf-16-le"))
    ]
