"""After an assignment the bureaus are told of the new creditor (1.1(21)): nobody forgets it until that is done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from desk import Desk, at_desk, tokens_for
from harness import PEOPLE, House, both_engines
from kept import add
from qaqpa.cli import doctor
from qaqpa.config.models import ConsoleRole
from qaqpa.errors import InvalidRequest, NotPossible
from qaqpa.gateway import Gateway
from qaqpa.handover import creditors
from qaqpa.model.handover import HandoverState
from qaqpa.model.identifiers import uuid7
from qaqpa.testing.registers import contracts_csv
from registers import order, pieces, until
from turning import bare, still
from visitor import signed_in

SCB, FCB = "state-credit-bureau", "first-credit-bureau"
BUYER = {"recipient": "demo-cession-buyer", "operation": "assignment", "purpose": "cession"}
UPLOAD = {"recipient": SCB, "operation": "contract_upload", "purpose": "legal_duty"}
SENT, ACKNOWLEDGED, REJECTED = HandoverState.SENT, HandoverState.ACKNOWLEDGED, HandoverState.REJECTED


async def assigned(house: House, gateway: Gateway, state: HandoverState = ACKNOWLEDGED) -> str:
    return await add(house, gateway, timedelta(days=1), state, **BUYER)


async def of_doctor(house: House) -> list[str]:
    looked = await asyncio.to_thread(
        lambda: list(doctor.examine(house.config, house.home, os.environ | house.environ, house.clock()))
    )
    return [each.message for each in looked if "change of creditor" in each.message]


@asynccontextmanager
async def console(house: House) -> AsyncIterator[Desk]:
    async with at_desk(house, await tokens_for(house)) as desk:
        yield desk


async def test_what_is_owed_is_told_until_the_bureau_has_acknowledged(house: House) -> None:
    house.scb.pump.patience = 0
    house.scb.pump.refuse[PEOPLE[1].data["contract"]["code"]] = "7"
    async with console(house) as desk:
        gateway = desk.gateway
        name = await assigned(house, gateway)
        [said] = await of_doctor(house)
        assert f"(assignment {name})" in said and f"{FCB} and {SCB} (1.1(21))" in said
        shown = await house.cli("handover", "show", name)
        for bureau in (FCB, SCB):
            assert f"still to be reported to {bureau}" in shown.out, shown.out
            assert f"--to {bureau} --operation contract_upload --follows {name}" in shown.out
        async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
            assert f'<a href="/console/handovers/{name}">' in (await anna.get("/")).text
            page = (await anna.get(f"/handovers/{name}")).text
            assert page.count("still to be reported") == 2 and f"--follows {name}" in page

        register = house.home / "contracts.csv"
        register.write_bytes(contracts_csv(PEOPLE[:3]))
        sent = await house.cli(
            "handover", "send", str(register), "--to", SCB, "--operation", "contract_upload", "--follows", name,
            "--wait-receipt", "--json",
        )  # fmt: skip
        assert (sent.code, sent.json["state"], sent.json["follows"]) == (0, "acknowledged", name), sent.err
        [said] = await of_doctor(house)
        assert FCB in said and SCB not in said
        shown = await house.cli("handover", "show", name)
        assert f"{SCB} acknowledged 2 of 1 contracts ({sent.json['handover']})" in shown.out
        assert f"still to be reported to {SCB}" not in shown.out and f"still to be reported to {FCB}" in shown.out
        told = (await desk.ask("GET", f"/v1/handovers/{name}", "collections")).json()
        assert told["reports"] == [
            {"recipient": FCB, "handover": None, "state": None, "contracts": None},
            {"recipient": SCB, "handover": sent.json["handover"], "state": "acknowledged", "contracts": 2},
        ]
        upload = await house.cli("handover", "show", sent.json["handover"])
        assert f"reports the change of creditor after the assignment {name}" in upload.out
        async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
            page = (await anna.get(f"/handovers/{name}")).text
            assert page.count("still to be reported") == 1 and "2 of 1 contracts" in page
            assert f"/console/handovers/{name}" in (await anna.get(f"/handovers/{sent.json['handover']}")).text


async def test_over_http_with_the_same_key_and_another_assignment(house: House) -> None:
    house.scb.pump.patience = 10_000
    where = "/v1/handovers?recipient=state-credit-bureau&operation=contract_upload&purpose=legal_duty&follows="
    async with console(house) as desk:
        first, second = await assigned(house, desk.gateway), await assigned(house, desk.gateway, SENT)
        headers, body = {"content-type": "text/csv"}, contracts_csv(PEOPLE[:2])

        async def hand(follows: str) -> tuple[int, dict[str, object]]:
            answer = await desk.ask("POST", where + follows, "collections", key="k", headers=headers, content=body)
            return answer.status_code, answer.json()

        code, taken = await hand(first)
        assert (code, taken["follows"]) == (202, first), taken
        assert (await hand(first))[1]["handover"] == taken["handover"]
        assert (await hand(second))[1]["code"] == "idempotency_key_reused"
        assert (await hand("7"))[0] == 400
        await until(desk.gateway, str(taken["handover"]), SENT)
        shown = await house.cli("handover", "show", first)
        assert f"is being reported to {SCB}: `qaqpa handover show {taken['handover']}`" in shown.out
        assert len(await of_doctor(house)) == 2, "nobody has acknowledged yet"


@both_engines
async def test_what_counts_as_told(tmp_path: Path, store_url: str) -> None:
    house = bare(tmp_path, store_url)
    async with still(house) as gateway:
        to = creditors.bureaus(gateway.policy)
        assert to == (FCB, SCB)

        async def untold() -> list[tuple[str, tuple[str, ...]]]:
            return [(each.assignment.id, each.untold) for each in await gateway.handovers.owed("compliance")]

        await add(house, gateway, timedelta(1), ACKNOWLEDGED)  # debtors to the collector
        for state in set(HandoverState) - {SENT, ACKNOWLEDGED}:
            await assigned(house, gateway, state)
        assert await untold() == [], "nobody has another creditor"
        name = await assigned(house, gateway, SENT)
        assert await untold() == [(name, to)]
        for state in set(HandoverState) - {ACKNOWLEDGED}:
            await add(house, gateway, timedelta(0), state, follows=name, **UPLOAD)
        assert await untold() == [(name, to)]
        for _ in range(2):
            await add(house, gateway, timedelta(0), ACKNOWLEDGED, follows=name, **UPLOAD)
        await add(house, gateway, timedelta(0), REJECTED, follows=name, **UPLOAD)
        assert await untold() == [(name, (FCB,))], "what was told once stays told"
        await add(house, gateway, timedelta(0), ACKNOWLEDGED, follows=name, **{**UPLOAD, "recipient": FCB})
        assert await untold() == []


async def test_only_contracts_follow_and_only_an_assignment_that_left(house: House) -> None:
    async with house.gateway() as gateway:
        await gateway.jobs.close()
        name = await assigned(house, gateway)
        with (
            gateway.store.snapshot() as connection,
            pytest.raises(InvalidRequest, match="only contract_upload follows"),
        ):
            creditors.require_followed(connection, order(follows=name))
        others = [uuid7(), "x", await add(house, gateway, timedelta(1), ACKNOWLEDGED)]
        others.append(await assigned(house, gateway, HandoverState.PACKAGED))
        for other in others:
            with pytest.raises(NotPossible, match="no assignment with this id that has left"):
                await gateway.handovers.order(order(follows=other, **UPLOAD), pieces(b"x"))


@both_engines
async def test_what_is_owed_is_found_by_an_index(tmp_path: Path, store_url: str, engine: str) -> None:
    async with still(bare(tmp_path, store_url)) as gateway:
        statements = {
            creditors._ASSIGNED.format(marks="?, ?"): ("a", "b", 2), creditors._FOLLOWING: ("x",),
        }  # fmt: skip
        with gateway.store.snapshot() as connection:
            for sql, values in statements.items():
                if engine == "sqlite":
                    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).all()]
                    assert not any(step.startswith("SCAN") for step in plan), plan
                else:
                    connection.execute("SET LOCAL enable_seqscan = off")
                    plan = [str(row[0]) for row in connection.execute(f"EXPLAIN {sql}", values).all()]
                    assert not any("Seq Scan" in step for step in plan), plan
