"""What a handover that was killed goes on with is held against the ledger: whoever changes what is noted of its rows
gets no row into the package that has no entry.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from harness import TODAY, House, both_engines, give_consent
from qaqpa.alerts.findings import Rule
from qaqpa.errors import VerificationFailed
from qaqpa.gateway import Gateway
from qaqpa.gateway.handover_answers import Pace, pace
from qaqpa.handover.flow import HandoverFlow
from qaqpa.handover.resuming import require_packed
from qaqpa.ledger.entered import lines_entered
from qaqpa.ledger.handed import line_of
from qaqpa.model.handover import HandoverState, row_id
from qaqpa.model.identifiers import HandoverId, uuid7
from qaqpa.testing.people import people
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import row, rows
from turning import examined, meanwhile, still, taken_in, turn, turned

COLLECTOR = "recipients/demo-collector.toml"
DECIDING, SENT, CANCELLED = HandoverState.DECIDING, HandoverState.SENT, HandoverState.CANCELLED
FIRST = "WHERE number = 0"
ON_CONSENT = (
    ('ground = "legal_protection"\n', 'ground = "consent"\n'),
    ('clauses = ["1.1(15)", "2.3(3)", "2.3(4)"]', 'clauses = ["1.1(15)", "2.3(1)", "2.3(4)"]'),
)
CHANGES = {
    "the refused row goes": f"UPDATE handover_chunks SET results = x'000000' {FIRST}",
    "one that goes stays behind": f"UPDATE handover_chunks SET results = x'000101' {FIRST}",
    "one instead of another": f"UPDATE handover_chunks SET results = x'000001' {FIRST}",
    "other lines": f"UPDATE handover_chunks SET figures = replace(figures, '[2,4]', '[3,5]') {FIRST}",
    "no lines": f"UPDATE handover_chunks SET figures = replace(figures, '[2,4]', '7') {FIRST}",
    "a row of no register": f"UPDATE handover_chunks SET results = x'00010000' {FIRST}",
    "nothing was entered": "DELETE FROM handover_chunks",
    "the last chunk was not": "DELETE FROM handover_chunks WHERE number = 1",
    "a consent that no row rests on": f"UPDATE handover_chunks SET figures = replace(figures, '{{', "
    f"""'{{"consents":["x"],') {FIRST}""",
    "an entry of another row": "UPDATE entries SET body = (SELECT body FROM entries o WHERE o.idx = entries.idx - 1) "
    "WHERE idx = (SELECT max(idx) FROM entries WHERE kind = 'intent')",
}


def one_refused(count: int) -> list[dict[str, Any]]:
    lines = rows(count)
    lines[1]["facts.contract.settlement_steps_done"] = False
    return lines


async def killed(gateway: Gateway, lines: list[dict[str, Any]]) -> HandoverId:
    """A handover whose process was killed when two chunks of it stood in the ledger."""

    async def kill() -> None:
        raise asyncio.CancelledError

    name = await taken_in(gateway, lines=lines)
    await turned(gateway, name, DECIDING)
    with pytest.raises(asyncio.CancelledError):
        await turn(gateway, name, meanwhile(gateway, 2, kill))
    return name


async def do(gateway: Gateway, statement: str) -> None:
    def unit(connection: Any) -> None:
        text = statement
        if connection.dialect == "postgresql":
            text = re.sub("x'([0-9]+)'", r"'\\x\1'::bytea", text)
        connection.execute(text)

    await gateway.store.write(unit, alone=True)


async def chunks(gateway: Gateway) -> list[Any]:
    query = "SELECT handover, number, results, figures FROM handover_chunks ORDER BY number"
    found: list[Any] = await gateway.store.read(lambda connection: connection.execute(query).all())
    return found


@pytest.mark.promise(1)
@both_engines
@pytest.mark.parametrize("how", CHANGES)
async def test_nothing_goes_on_with_rows_that_are_noted_otherwise(
    home: House, collector: SftpRecipient, how: str
) -> None:
    async with still(home) as gateway:
        name = await killed(gateway, one_refused(9))
        noted = await chunks(gateway)
        assert [bytes(each[2]) for each in noted] == [b"\0\1\0", b"\0\0\0"]
        body = "SELECT body FROM entries WHERE idx = (SELECT max(idx) FROM entries WHERE kind = 'intent')"
        entry = bytes(await gateway.store.read(lambda connection: connection.execute(body).scalar()))
        await do(gateway, CHANGES[how])
        found = await turn(gateway, name)
        assert found.state is DECIDING and found.figures["waits"]["code"] == "verification_failed", found.figures
        assert not list((home.home / "handovers" / name).glob("*.zip.*")), "a package was begun"
        assert (await gateway.alerts.counts())[Rule.VERIFICATION] == 1
        shown = await home.cli("handover", "show", name)
        assert "`qaqpa ledger verify` says more" in shown.out, shown.out

        def mend(connection: Any) -> None:
            connection.execute("DELETE FROM handover_chunks")
            insert = "INSERT INTO handover_chunks (handover, number, results, figures) VALUES (?, ?, ?, ?)"
            connection.execute_many(insert, noted)
            last = "(SELECT max(idx) FROM entries WHERE kind = 'intent')"
            connection.execute(f"UPDATE entries SET body = ? WHERE idx = {last}", (entry,))

        await gateway.store.write(mend, alone=True)
        await turned(gateway, name, SENT)
        examined(home, gateway, collector)


async def test_what_is_cancelled_then_says_the_number_of_rows_that_the_ledger_has(
    home: House, collector: SftpRecipient
) -> None:
    async with still(home) as gateway:
        name = await killed(gateway, one_refused(9))
        await do(gateway, CHANGES["the refused row goes"])
        assert (await turn(gateway, name)).state is DECIDING
        await gateway.handovers.cancel("collections", name)
        [outcome] = home.entries(gateway, "outcome")
        assert (outcome["intent"], outcome["result"], outcome["rows"]) == (name, "not_sent", 5)
        await do(gateway, f"UPDATE handover_chunks SET results = x'000100' {FIRST}")
        examined(home, gateway, collector)


async def test_a_consent_that_is_not_noted_any_more(home: House, collector: SftpRecipient) -> None:
    """Whether it still stands when the package leaves is asked of what is noted."""
    home.edit(COLLECTOR, *ON_CONSENT)
    debtors = people(9, seed=3, today=TODAY)
    given = {
        "purposes": ["debt_collection"], "third_parties": ["collector"], "fields": ["identity", "contact", "contract"],
    }  # fmt: skip
    async with still(home) as gateway:
        for each in debtors:
            await give_consent(home, gateway, each, **given)
        name = await killed(gateway, [row(each) for each in debtors])
        await do(gateway, f"UPDATE handover_chunks SET figures = replace(figures, '\"consents\"', '\"x\"') {FIRST}")
        found = await turn(gateway, name)
        assert found.figures["waits"]["code"] == "verification_failed", found.figures


async def test_rows_that_were_cut_by_another_configuration(home: House, collector: SftpRecipient) -> None:
    """Also where somebody notes that it was this one: the ledger says which one it was."""
    async with still(home) as gateway:
        name = await killed(gateway, one_refused(9))
        before = gateway.setup.config.digest
    home.edit(COLLECTOR, ('    "contact.mobile",\n', ""))
    async with still(home) as gateway:
        await do(gateway, f"UPDATE handover_chunks SET figures = replace(figures, '{before}', "
                          f"'{gateway.setup.config.digest}')")  # fmt: skip
        found = await turn(gateway, name)
        assert found.state is CANCELLED and found.figures["code"] == "changed_meanwhile"
        examined(home, gateway, collector)


@both_engines
async def test_no_package_is_sealed_with_other_rows_than_the_ledger_has(
    home: House, collector: SftpRecipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still(home) as gateway:
        name = await killed(gateway, one_refused(9))
        await do(gateway, CHANGES["the refused row goes"])
        monkeypatch.setattr("qaqpa.handover.packer.require_entered", lambda *_: None)
        found = await turn(gateway, name)
        assert found.state is DECIDING and found.figures["waits"]["code"] == "verification_failed", found.figures
        assert not list((home.home / "handovers" / name).glob("*.zip.*"))

        def held(connection: Any) -> None:
            lines = list(lines_entered(connection, name))
            assert lines == [2, *range(4, 11)]
            require_packed(connection, name, lines)
            for others in (lines[:-1], [*lines, 11], [3, *lines[1:]], []):
                with pytest.raises(VerificationFailed):
                    require_packed(connection, name, others)

        await gateway.store.read(held)


def test_the_id_of_a_row_tells_its_line() -> None:
    handover = HandoverId(uuid7())
    for line in (1, 2, 2**20 - 1, 2**20, 1_100_001):
        assert line_of(row_id(handover, line)) == line


async def test_only_the_time_in_which_somebody_works_on_it_is_counted(
    home: House, collector: SftpRecipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for hours, is decided for a moment, is dead for hours, and goes on: what is left takes moments."""
    monkeypatch.setattr("qaqpa.handover.pulse.EVERY_S", 0.02)
    told: list[Pace] = []

    async def told_now(gateway: Gateway, name: HandoverId) -> Pace:
        return pace(await gateway.handovers.find("collections", name), home.clock())

    async with still(home) as gateway:
        name, flow = await taken_in(gateway, 150), gateway.handovers.flow
        home.clock.offset += timedelta(hours=5)
        assert (await told_now(gateway, name)).eta_s is None
        await turned(gateway, name, DECIDING)
        home.clock.offset += timedelta(hours=3)

        def slowly(last: int) -> HandoverFlow:
            async def is_suspended(recipient: str) -> bool:
                await asyncio.sleep(0.05)
                told.append(await told_now(gateway, name))
                if len(told) == last:
                    raise asyncio.CancelledError
                return await flow.packer.is_suspended(recipient)

            return replace(flow, packer=replace(flow.packer, is_suspended=is_suspended))

        with pytest.raises(asyncio.CancelledError):
            await turn(gateway, name, slowly(12))
        assert told[-1].rows and told[-1].rows_per_s and told[-1].eta_s is not None and told[-1].eta_s < 60, told[-1]
        home.clock.offset += timedelta(hours=2)
        assert (await told_now(gateway, name)).eta_s is None, "nobody works on it"
        told.clear()
        await turn(gateway, name, slowly(-1))
        assert told[0].eta_s is None, "nothing was decided yet in this run"
        known = [each.eta_s for each in told if each.eta_s is not None]
        assert len(known) > 5 and max(known) < 60, known
        assert (await told_now(gateway, name)).eta_s is None, "it waits for its turn"


async def test_waiting_for_one_that_failed_lets_it_be_tried_again(
    home: House, collector: SftpRecipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in home.environ.items():
        monkeypatch.setenv(key, value)
    async with still(home) as gateway:
        name = await killed(gateway, one_refused(9))
        noted = await chunks(gateway)
        await do(gateway, CHANGES["the refused row goes"])
        for _ in range(3):
            await turn(gateway, name)
        await do(gateway, f"UPDATE handover_chunks SET results = x'{bytes(noted[0][2]).hex()}' {FIRST}")
    ran = await home.cli("handover", "wait", name)
    assert ran.code == 0 and "sent" in ran.out, ran.err


@both_engines
async def test_rows_of_two_registers_of_one_millisecond_are_told_apart(
    home: House, collector: SftpRecipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their ids begin alike, and tell the same lines."""
    first = uuid7()
    second = f"{first[:14]}{'7fff' if first[14:18] != '7fff' else '7ffe'}{first[18:]}"
    async with still(home) as gateway:
        for name, lines in ((first, one_refused(9)), (second, rows(9, seed=7))):
            monkeypatch.setattr("qaqpa.handover.handovers.uuid7", lambda name=name: name)
            assert await taken_in(gateway, lines=lines) == name
        assert (await turned(gateway, HandoverId(first), HandoverState.PACKAGED)).figures["rows"] == 8
        assert (await turned(gateway, HandoverId(second), HandoverState.PACKAGED)).figures["rows"] == 9
        for name in (first, second):
            await gateway.handovers.cancel("collections", name)
        assert [entry["rows"] for entry in home.entries(gateway, "outcome")] == [8, 9]
        home.verified(gateway)


async def test_ages_that_were_counted_on_another_day(home: House, collector: SftpRecipient) -> None:
    """The rows that stand in the ledger would leave with other ages than were entered."""
    home.edit(
        COLLECTOR,
        ('    "identity.birth_date",\n', '    { path = "identity.birth_date", as = "age_band", size = 1 },\n'),
    )
    async with still(home) as gateway:
        name = await killed(gateway, one_refused(9))
        home.clock.offset += timedelta(days=1)
        found = await turn(gateway, name)
        assert found.state is CANCELLED and found.figures["code"] == "changed_meanwhile"
        examined(home, gateway, collector)
