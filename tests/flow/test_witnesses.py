"""Witnesses: other people cosign that the ledger only ever grew; one that fails does no harm and is asked again."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from desk import at_desk
from harness import (
    House,
    both_engines,
    eventually,
    grown,
    outside,
    read_outside,
)
from qaqpa.gateway import Gateway, load_setup, upkeep
from qaqpa.tlog import standalone
from qaqpa.tlog.notes import AddCheckpoint, Note
from qaqpa.witness import Answer, Witness, create_key
from visitor import signed_in

EVERY = "checkpoint_every_ms = 1000"


class Stand:
    """A real witness behind a door that may be spoilt."""

    def __init__(self, folder: Path) -> None:
        self.vkey = create_key(folder / "witness.pem", "witness.example/1")
        self.folder = folder
        self.asked: list[int] = []
        self.witness: Witness | None = None
        self.spoilt: Callable[[AddCheckpoint], Answer] | None = None
        self.latency_s = 0.0

    async def _add(self, asked: web.Request) -> web.Response:
        body = await asked.read()
        parsed = AddCheckpoint.parse(body)
        self.asked.append(parsed.old_size)
        await asyncio.sleep(self.latency_s)
        answer = self.witness.add_checkpoint(body) if self.spoilt is None else self.spoilt(parsed)
        return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})

    @asynccontextmanager
    async def serving(self, house: House, port: int = 0) -> AsyncIterator[int]:
        authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(house.home / "witness-ca.pem"))
        app = web.Application()
        app.router.add_post("/add-checkpoint", self._add)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


@pytest.fixture
async def stand(house: House, tmp_path: Path) -> AsyncIterator[Stand]:
    """A witness that the configuration names."""
    made = Stand(tmp_path / "witness")
    async with made.serving(house) as port:
        key = load_setup(house.config, home=house.home, environ=house.environ).log_key
        made.witness = Witness("witness.example/1", made.folder / "witness.pem", made.folder, {key.name: [key]})
        gateway_file = house.config / "gateway.toml"
        gateway_file.write_text(
            gateway_file.read_text().replace(EVERY, "checkpoint_every_ms = 50")
            + f'[[ledger.witnesses]]\nvkey = "{made.vkey}"\n[ledger.witnesses.channel]\nkind = "https"\n'
            'ca = "witness-ca.pem"\nprivate_networks = ["127.0.0.0/8"]\nanswer_timeout_s = 1\n'
            f'[ledger.witnesses.channel.endpoints]\nwitness = "https://127.0.0.1:{port}/add-checkpoint"\n'
        )
        yield made


async def cosigned(house: House, stand: Stand) -> bool:
    """Whether the last checkpoint, as the command prints it, holds the witness's signature."""
    ran = await house.cli("ledger", "checkpoint")
    assert ran.code == 0 or "no checkpoint yet" in ran.err, ran.err
    note = Note.parse(ran.out.encode()) if ran.code == 0 else None
    return note is not None and note.is_signed_by(stand.vkey) and note.verify(stand.vkey) is not None


async def until_cosigned(house: House, stand: Stand) -> None:
    async with asyncio.timeout(15):
        while not await cosigned(house, stand):
            pass


@both_engines
async def test_a_witness_cosigns_and_the_cosignature_is_kept(house: House, stand: Stand) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
        await until_cosigned(house, stand)
        await grown(house, gateway, 2)
    assert await cosigned(house, stand)
    async with house.gateway() as gateway:  # one that knows nothing of what the witness saw
        assert house.verified(gateway).size == 10
        await grown(house, gateway)
    assert await cosigned(house, stand)


def notes(gateway: Gateway) -> list[Note]:
    """Every stored checkpoint, oldest first."""
    with gateway.store.snapshot() as connection:
        return [Note.parse(row[0]) for row in connection.execute("SELECT note FROM checkpoints ORDER BY size").all()]


@both_engines
async def test_a_witness_slower_than_checkpoints_are_made_is_not_lost(house: House, stand: Stand) -> None:
    stand.latency_s = 0.2  # four times the interval
    folder = house.home / "export"
    async with house.gateway() as gateway:
        busy = asyncio.create_task(grown_for(house, gateway, 2.0))
        await asyncio.sleep(1.5)
        found = notes(gateway)
        assert not found[-1].is_signed_by(stand.vkey), "the last one is always ahead of such a witness"
        cosigned_ones = [each for each in found if each.is_signed_by(stand.vkey)]
        assert cosigned_ones != [] and cosigned_ones[-1].verify(stand.vkey) is not None
        await gateway.compliance.export("compliance", folder, lambda _done, _all: None)
        await busy
        house.verified(gateway)
    result = standalone.verify(folder, witnesses=[standalone.parse_key(str(stand.vkey), standalone.WITNESS)])
    assert result["verified"], result["failures"]
    assert 0 < result["cosigned"][0]["size"] <= result["size"]


async def grown_for(house: House, gateway: Gateway, seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        await grown(house, gateway)


SPOILT: dict[str, Callable[[AddCheckpoint], Answer]] = {
    "server error": lambda _: Answer(500, "text/plain", b"no"),
    "garbage": lambda _: Answer(200, "text/plain", b"\xff\x00 garbage"),
    "its size is garbage": lambda _: Answer(409, "text/x.tlog.size", b"many\n"),
    "its size is another each time": lambda asked: Answer(409, "text/x.tlog.size", b"%d\n" % (1 - asked.old_size % 2)),
    "it saw a longer ledger": lambda _: Answer(409, "text/x.tlog.size", b"1000000\n"),
    "it saw a fork": lambda _: Answer(422, "text/plain", b"does not extend\n"),
    "huge": lambda _: Answer(200, "text/plain", b"x" * 5_000_000),
}


@pytest.mark.parametrize("spoilt", SPOILT)
async def test_a_witness_that_fails_does_no_harm_and_is_asked_again(house: House, stand: Stand, spoilt: str) -> None:
    async with house.gateway() as gateway:
        stand.spoilt = SPOILT[spoilt]
        await grown(house, gateway)
        await eventually(lambda: len(stand.asked) > 0 and read_outside(house, gateway).size == 4)
        assert gateway.ledger.closed_by is None and not await cosigned(house, stand)
        stand.spoilt = None
        await grown(house, gateway)
        await until_cosigned(house, stand)
        house.verified(gateway)


async def test_a_witness_that_failed_is_asked_again_although_nothing_is_added(
    house: House, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ASK_AGAIN_S", 0.2)
    async with house.gateway() as gateway:
        stand.spoilt = SPOILT["server error"]
        await grown(house, gateway)
        await eventually(lambda: len(stand.asked) > 3 and read_outside(house, gateway).size == 4)
        assert not await cosigned(house, stand)
        stand.spoilt = None
        await until_cosigned(house, stand)
        asked = len(stand.asked)
        await asyncio.sleep(1)
        assert len(stand.asked) <= asked + 1, "a witness that has cosigned is left alone"


async def test_a_witness_that_is_down_does_no_harm(house: House, stand: Stand) -> None:
    good = (house.config / "gateway.toml").read_text()
    (house.config / "gateway.toml").write_text(good.replace("/add-checkpoint", "/").replace("127.0.0.1:", "127.0.0.2:"))
    async with house.gateway() as gateway:
        await grown(house, gateway)
        await eventually(lambda: outside(house).exists() and read_outside(house, gateway).size == 4)
    assert not await cosigned(house, stand)
    (house.config / "gateway.toml").write_text(good)
    async with house.gateway():
        pass
    assert await cosigned(house, stand)


async def test_the_overview_says_who_cosigned_the_last_checkpoint_and_how_late(house: House, stand: Stand) -> None:
    stand.spoilt = lambda _: Answer(500, b"", "text/plain")
    async with at_desk(house, {}) as desk, signed_in(desk, "Anna") as anna:
        await grown(house, desk.gateway)
        await eventually(lambda: bool(stand.asked))
        page = (await anna.get("/")).text
        assert "witness.example/1: " in page and "not cosigned yet" in page
        stand.spoilt = None
    async with at_desk(house, {}) as desk:
        assert desk.gateway.upkeep is not None
        await desk.gateway.upkeep.checkpointed()

        async def cosigned() -> bool:
            async with signed_in(desk, "Anna") as anna:
                page = (await anna.get("/")).text
            return "witness.example/1: " in page and re.search(r"seconds? after it was signed", page) is not None

        for _ in range(100):
            if await cosigned():
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("nobody cosigned what the overview shows")
