"""Registers of synthetic debtors, as a collections department brings them, and a recipient that takes them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness import DEBTOR_FACTS, TODAY, House
from qaqpa.gateway import Gateway
from qaqpa.handover.orders import Order
from qaqpa.handover.records import Handover
from qaqpa.model.handover import HandoverState
from qaqpa.testing.people import Person, people
from qaqpa.testing.registers import written
from qaqpa.testing.sftp_recipient import SftpRecipient

FIELDS = (
    "identity.iin", "identity.last_name", "identity.first_name", "identity.middle_name", "identity.birth_date",
    "contact.mobile", "contact.email", "contact.registered_address", "contract.number", "contract.signed_on",
    "contract.matures_on", "contract.amount", "contract.principal", "contract.overdue_principal", "contract.interest",
    "contract.overdue_interest", "contract.penalty", "contract.expenses", "contract.total_due", "contract.days_overdue",
)  # fmt: skip
FACTS = tuple(f"facts.contract.{name}" for name in DEBTOR_FACTS)


def row(person: Person, **changes: Any) -> dict[str, Any]:
    """A debtor whose file may go; `changes` by the last part of a path."""
    document: Mapping[str, Any] = person.data
    line: dict[str, Any] = {}
    for path in FIELDS:
        group, _, name = path.partition(".")
        line[path] = document[group].get(name)
    line |= {f"facts.contract.{name}": value for name, value in DEBTOR_FACTS.items()}
    line["contract.days_overdue"] = max(95, line["contract.days_overdue"])
    for path in list(line):
        name = path.rpartition(".")[2]
        if name in changes:
            line[path] = changes[name]
    return line


def rows(count: int, *, seed: int = 2026) -> list[dict[str, Any]]:
    """So many debtors, all of whom may go."""
    return [row(person) for person in people(count, seed=seed, today=TODAY)]


def as_csv(lines: Iterable[Mapping[str, Any]], *, encoding: str = "utf-8", delimiter: str = ";") -> bytes:
    """The register with its Russian headings."""
    return written(lines, [*FIELDS, *FACTS], encoding=encoding, delimiter=delimiter)


def order(**changes: Any) -> Order:
    """Debtors to the collector."""
    asked = {"recipient": "demo-collector", "operation": "handover", "purpose": "debt_collection"}
    return Order(**{"caller": "collections", **asked, **changes})


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@asynccontextmanager
async def agency(house: House, folder: Path) -> AsyncIterator[SftpRecipient]:
    """The collector's SFTP server, known to the house."""
    async with SftpRecipient(directory=folder) as recipient:
        house.environ |= recipient.environment
        yield recipient


async def until(gateway: Gateway, handover: str, *states: HandoverState, within_s: float = 30) -> Handover:
    """Wait until it is in one of the states."""
    async with asyncio.timeout(within_s):
        while True:
            found = (await gateway.handovers.find("collections", handover)).handover
            if found.state in states:
                return found
            await asyncio.sleep(0.05)


def is_left(folder: Path, *names: str) -> bool:
    """Whether just these files are left in a handover's folder; with none, whether it is gone."""
    return sorted(path.name for path in folder.glob("*")) == sorted(names) and (bool(names) or not folder.exists())


async def until_left(folder: Path, *names: str, within_s: float = 15) -> None:
    """Wait until just these files are left in a handover's folder; with none, until it is gone."""
    async with asyncio.timeout(within_s):
        while not is_left(folder, *names):  # noqa: ASYNC110 - another process's files tell no event
            await asyncio.sleep(0.05)


def opened(recipient: SftpRecipient, name: str) -> zipfile.ZipFile:
    """A package, as its recipient opens it."""
    content = recipient.pair.open((recipient.inbox / name).read_bytes())
    return zipfile.ZipFile(io.BytesIO(content))


def register_in(package: zipfile.ZipFile) -> list[dict[str, str]]:
    """The rows of a CSV register in a package."""
    text = package.read("register.csv").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text), delimiter=";"))


def manifest_in(package: zipfile.ZipFile) -> dict[str, Any]:
    """What the manifest says."""
    found: dict[str, Any] = json.loads(package.read("manifest.json"))
    return found


def values(lines: Sequence[Mapping[str, Any]], path: str) -> list[Any]:
    return [line[path] for line in lines]
