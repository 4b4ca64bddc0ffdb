"""Mixed load on the real service with faults on both sides, killed and restarted in the middle: whatever happens, what
the third parties received is in the ledger, a key discloses once, every intent has an end, and memory stays flat."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import TODAY, House, both_engines, consent_document, handover_document, request_document
from qaqpa.gateway import Gateway
from qaqpa.service import tokens
from qaqpa.testing.faults import Fault
from qaqpa.testing.people import Person, people
from qaqpa.testing.sandbox import Arrival, Examination, Sandbox

SECONDS = float(os.environ.get("QAQPA_LOAD_SECONDS", "8"))
SEED = int(os.environ.get("QAQPA_SEED", str(time.time_ns())))
CLIENTS = 12
FAULTS = (
    Fault.SERVER_ERROR, Fault.CUT_CONNECTION, Fault.TRUNCATED, Fault.GARBAGE, Fault.SLOW, Fault.HANG_AFTER_ACCEPTING,
    Fault.HANG_BEFORE_ACCEPTING, Fault.WRONG_SUBJECT, Fault.REDIRECT,
)  # fmt: skip
SCORING = (
    ("first-credit-bureau", "credit_report"), ("first-credit-bureau", "score"), ("first-credit-bureau", "debt_burden"),
    ("state-credit-bureau", "credit_report"), ("state-credit-bureau", "contributions"),
    ("pension-center", "contributions"),
)  # fmt: skip
REUSED = SCORING[0]
"""Its route says reuse_for."""
AGENCY = "demo-collector"
RECIPIENTS = {AGENCY, *(recipient for recipient, _ in SCORING)}
FLAT_MIB = 48
"""What a warm server may still grow by: caches fill, the allocator keeps pages."""


class Service:
    """`qaqpa serve` as a process, killed and started again on the same port."""

    def __init__(self, house: House) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self._house = house
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "qaqpa", "serve", "--config", str(self._house.config), "--home",
            str(self._house.home), "--listen", f"127.0.0.1:{self.port}",
            env={**os.environ, **self._house.environ, "QAQPA_LOG": "warning"}, stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        if how is signal.SIGKILL:
            os.killpg(self.process.pid, how)  # the server and its worker at once
        else:
            self.process.send_signal(how)
        await self.process.wait()

    def memory_mib(self) -> float:
        """Of the server and its workers."""
        assert self.process is not None
        total = 0.0
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                text = status.read_text()
                fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
                if os.getpgid(int(fields["Pid"])) == self.process.pid and "VmRSS" in fields:
                    total += int(fields["VmRSS"].split()[0]) / 1024
        return total


class Load:
    """Clients who ask about one person after the other: each question under a key of its own, often several times, also
    after they went away. They remember what they were told."""

    def __init__(self, house: House, service: Service, credentials: dict[str, str], rng: random.Random) -> None:
        self.house, self.service, self.credentials, self.rng = house, service, credentials, rng
        self.told: defaultdict[str, set[str]] = defaultdict(set)
        """Disclosures that each key was told of."""
        self.answers: defaultdict[str, list[Any]] = defaultdict(list)
        """What each key was answered."""
        self.paid_by: dict[str, str] = {}
        """The key that a report was paid for under, by the key that it was asked for again with."""
        self.statuses: Counter[int] = Counter()
        self.reused = 0
        self.number = 0
        self.applicants = _applicants()

    async def client(self, ends: float) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.service.port}", timeout=20) as client:
            while time.monotonic() < ends:
                person = next(self.applicants)
                asked = [("collections", handover_document(person))]
                if self.rng.random() < 0.1 or not await self.consented(client, person):
                    asked = [("loan-scoring", request_document(person))]  # no consent: denied
                else:
                    asked += [
                        ("loan-scoring", request_document(person, recipient=recipient, operation=operation))
                        for recipient, operation in SCORING
                    ]
                for caller, document in self.rng.sample(asked, len(asked)):
                    if time.monotonic() < ends:
                        await self.question(client, caller, document)

    async def consented(self, client: httpx.AsyncClient, person: Person) -> bool:
        evidence = {"method": "kdp", "reference": "kdp-1", "kdp": {"token": "made-up", "public_key": "made-up"}}
        parties = ["credit_bureau", "pension_center"]
        consent = consent_document(person, self.house.clock(), third_parties=parties, evidence=evidence)
        with suppress(httpx.HTTPError):
            reply = await client.post("/v1/consents", json=consent, headers=self.headers("loan-scoring"))
            assert reply.status_code in {201, 503}, reply.text
            return reply.status_code == 201
        return False

    def headers(self, caller: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.credentials[caller]}"}

    async def question(self, client: httpx.AsyncClient, caller: str, document: dict[str, Any]) -> None:
        key = self.key()
        times = self.rng.choice((1, 1, 2))
        await asyncio.gather(*(self.ask(client, caller, document, key) for _ in range(times)))
        if self.answers[key] and (document["recipient"], document["operation"]) == REUSED:
            again = self.key()
            await self.ask(client, caller, document, again)
            self.paid_by[again] = key
            for answer in self.answers.pop(again, []):
                assert answer["reused"] and answer["report"] == self.answers[key][0]["report"]
                self.reused += answer["reused"]

    def key(self) -> str:
        self.number += 1
        return f"{SEED}-{self.number}"

    async def ask(self, client: httpx.AsyncClient, caller: str, document: dict[str, Any], key: str) -> None:
        headers = self.headers(caller) | {"idempotency-key": key}
        patience = 0.01 if self.rng.random() < 0.05 else 20.0
        for _ in range(4):
            try:
                async with asyncio.timeout(patience):
                    reply = await client.post("/v1/disclosures", json=document, headers=headers)
            except (httpx.HTTPError, TimeoutError):  # killed, or this client went away: ask again with the same key
                self.statuses[0] += 1
                patience = 20.0
                await asyncio.sleep(0.3)
                continue
            self.statuses[reply.status_code] += 1
            answer = reply.json()
            if answer.get("disclosure"):
                self.told[key].add(answer["disclosure"])
            if reply.status_code == 200:
                self.answers[key].append(answer)
            if reply.status_code == 409 and answer["code"] == "request_in_flight":
                await asyncio.sleep(0.2)
                continue
            assert reply.status_code < 500 or reply.status_code in {502, 503, 504}, answer
            return

    async def faults(self, ends: float, stands: Mapping[str, Sandbox[Any]]) -> None:
        while time.monotonic() < ends:
            await asyncio.sleep(self.rng.uniform(0.05, 0.4))
            self.rng.choice([*stands.values()]).fail_next(self.rng.choice(FAULTS))


def _applicants() -> Iterator[Person]:
    """One after the other, each once."""
    for seed in range(SEED % 10**6, 10**9):
        yield from people(200, seed=seed, today=TODAY)


# --- what was received, held against the ledger ------------------------------------------------------


@dataclass(frozen=True)
class Arrived:
    """A whole request that a third party received."""

    recipient: str
    iin: str | None
    body: bytes
    intent: str | None
    """Which it says that it is; only to those who take the same one twice."""


def listen_in(stands: Mapping[str, Sandbox[Any]]) -> list[Arrived]:
    """Everything that arrives from now on; the stand-ins do with it what they did before."""
    arrived: list[Arrived] = []

    def tap(name: str, stand: Sandbox[Any]) -> None:
        examine = stand.examine

        def noted(arrival: Arrival) -> Examination:
            found: Examination = examine(arrival)
            arrived.append(Arrived(name, found.iin, arrival.body, arrival.headers.get("idempotency-key")))
            return found

        stand.examine = noted  # type: ignore[method-assign]

    for name, stand in stands.items():
        tap(name, stand)
    return arrived


async def require_accounted(
    gateway: Gateway, intents: list[dict[str, Any]], results: Mapping[str, str], arrived: list[Arrived]
) -> None:
    """Every intent was received as its outcome says: never where it was not sent, once where it was, perhaps where that
    is unknown. No two persons' messages are alike, so intents with the same message are of one person and one question.
    """
    at_agency = {each.intent for each in arrived if each.recipient == AGENCY}
    sent: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    """What came of the intents with one and the same message."""
    for intent in intents:
        result = results[intent["id"]]
        if intent["recipient"] == AGENCY:  # it drops what it has seen, so the same intent may reach it twice
            assert result == "unknown" or (intent["id"] in at_agency) is (result != "not_sent"), (intent["id"], result)
        else:
            subject = await gateway.ledger.subjects.by_id(intent["subject"])
            sent[intent["recipient"], subject.open(intent)["sent"]][result] += 1
    assert at_agency <= {intent["id"] for intent in intents if intent["recipient"] == AGENCY}
    received: Counter[tuple[str, str]] = Counter()
    for each in arrived:
        if each.recipient != AGENCY:
            found = None if each.iin is None else await gateway.ledger.subjects.find(each.iin)
            received[each.recipient, "?" if found is None else found.digest(each.body)] += 1
    for message in received.keys() | sent.keys():
        ended = sent[message]
        sure = ended["delivered"] + ended["rejected"]
        assert sure <= received[message] <= sure + ended["unknown"], (message, received[message], ended)


@pytest.mark.promise(1)
@pytest.mark.promise(6)
@pytest.mark.timeout(SECONDS * 3 + 180)
@both_engines
async def test_under_mixed_load_with_faults_and_a_kill_the_ledger_stays_true(house: House) -> None:
    print(f"seed {SEED}, {SECONDS:g} s")  # noqa: T201 - to run a failure again
    rng = random.Random(SEED)
    stands: dict[str, Sandbox[Any]] = {
        "first-credit-bureau": house.fcb, "state-credit-bureau": house.scb, "pension-center": house.ppc,
        AGENCY: house.collector,
    }  # fmt: skip
    assert stands.keys() == RECIPIENTS
    for recipient in stands:
        path = house.config / "recipients" / f"{recipient}.toml"
        text = re.sub(r"answer_timeout_s = \d+", "answer_timeout_s = 1", path.read_text())
        path.write_text(text.replace("failures = 5", "failures = 1000"))
    operation = f'operation = "{REUSED[1]}"\n'
    house.edit(f"recipients/{REUSED[0]}.toml", (operation, f'{operation}reuse_for = "1h"\n'))
    credentials = {}
    async with house.gateway() as gateway:
        for caller in ("loan-scoring", "collections"):
            made = await tokens.make_for(
                gateway, caller, caller="compliance", person="load", reason="load", lifetime=timedelta(days=1)
            )
            credentials[caller] = made[1]
    service = Service(house)
    load = Load(house, service, credentials, rng)
    arrived = listen_in(stands)
    await service.start()
    ends = time.monotonic() + SECONDS
    working = [asyncio.create_task(load.client(ends)) for _ in range(CLIENTS)]
    working.append(asyncio.create_task(load.faults(ends - 2, stands)))
    await asyncio.sleep(SECONDS * 0.4)
    await service.end(signal.SIGKILL)
    await service.start()
    await asyncio.sleep(SECONDS * 0.2)
    warm = service.memory_mib()
    await asyncio.gather(*working)
    grown = service.memory_mib() - warm
    await service.end(signal.SIGTERM)

    async with house.gateway() as gateway:
        found = house.verified(gateway)
        assert found.open_intents == ()
        intents = house.entries(gateway, "intent")
        outcomes = house.entries(gateway, "outcome")
        results = {outcome["intent"]: outcome["result"] for outcome in outcomes}
        assert results.keys() == {intent["id"] for intent in intents} and len(results) == len(outcomes)
        await require_accounted(gateway, intents, results, arrived)
        assert len(house.entries(gateway, "reused")) >= load.reused > 0
    for told in load.told.values():  # a key is free again only where surely nothing left
        assert sum(results[each] != "not_sent" for each in told) <= 1, "a key disclosed twice"
    for again, first in load.paid_by.items():  # nothing left for it that had not left before
        assert load.told[again] & results.keys() <= load.told[first], "a report was paid for twice"
    for key, answers in load.answers.items():
        assert all(answer == answers[0] for answer in answers), f"{key} was answered in several ways"
    came_of = Counter((intent["recipient"], results[intent["id"]]) for intent in intents)
    print(f"{len(intents)} intents {dict(came_of)}, {load.reused} reused")  # noqa: T201
    print(f"answers {dict(load.statuses)}, grew {grown:.1f} MiB")  # noqa: T201
    assert all(came_of[recipient, "delivered"] for recipient in RECIPIENTS), came_of
    assert len(intents) > SECONDS, load.statuses
    assert load.statuses[200] > SECONDS, load.statuses
    assert grown < FLAT_MIB, f"the server grew by {grown:.0f} MiB"
