"""What people do with the ledger while handovers are under way: consents end, persons are erased, keys rotated, months
moved, back-ups made and restored.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from harness import PEOPLE, TODAY, House, both_engines, erase_as_two, give_consent, settle_as_two
from qaqpa.errors import ErasureRefused
from qaqpa.ledger.archive import from_folder
from qaqpa.ledger.verify import verify
from qaqpa.model.handover import HandoverState
from qaqpa.model.words import OutcomeResult
from qaqpa.testing.opening import make_pair
from qaqpa.testing.packages import PackageFault
from qaqpa.testing.people import people
from qaqpa.testing.sftp_recipient import SftpRecipient
from registers import opened, register_in, row, rows
from turning import SAID, examined, meanwhile, results, standing, still, taken_in, turn, turned

COLLECTOR = "recipients/demo-collector.toml"
QUEUED, DECIDING, PACKAGED = HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.PACKAGED
SENDING, SENT, UNKNOWN = HandoverState.SENDING, HandoverState.SENT, HandoverState.UNKNOWN
CANCELLED, ACKNOWLEDGED = HandoverState.CANCELLED, HandoverState.ACKNOWLEDGED
ON_CONSENT = (
    ('ground = "legal_protection"\n', 'ground = "consent"\n'),
    ('clauses = ["1.1(15)", "2.3(3)", "2.3(4)"]', 'clauses = ["1.1(15)", "2.3(1)", "2.3(4)"]'),
)
GIVEN = {
    "purposes": ["debt_collection"], "third_parties": ["collector"], "fields": ["identity", "contact", "contract"],
}  # fmt: skip


@both_engines
async def test_a_consent_that_ends_before_the_package_leaves_stops_it(home: House, collector: SftpRecipient) -> None:
    home.edit(COLLECTOR, *ON_CONSENT)
    debtors = people(9, seed=3, today=TODAY)
    lines = [row(person) for person in debtors]
    async with still(home) as gateway, still(home) as other:

        async def given(**changes: object) -> list[str]:
            return [(await give_consent(home, gateway, each, **GIVEN | changes)).id for each in debtors]

        async def withdraw(consent: str) -> None:
            await other.withdraw_consent("loan-scoring", consent, duties_met=True)

        # Withdrawn while the next chunk is being decided: of a row that stands in the ledger, and of one that does not.
        consents = await given()
        for at, result in ((0, CANCELLED), (8, SENT)):
            name = await taken_in(gateway, lines=lines)
            flow = meanwhile(gateway, 2, lambda at=at: withdraw(consents[at]))
            found = await turned(gateway, name, SENT, CANCELLED, flow=flow)
            assert found.state is result, at
            if found.state is CANCELLED:
                assert found.figures["code"] == "consent_ended"
                consents[at] = (await give_consent(home, gateway, debtors[at], **GIVEN)).id
            else:
                assert results(gateway, name) == {"PERMIT": 8, "DENY": 1}
        consents[8] = (await give_consent(home, gateway, debtors[8], **GIVEN)).id

        # Withdrawn, or over, while the package waits or is being tried.
        for state in (PACKAGED, SENDING):
            for how in ("withdrawn", "over"):
                name = await taken_in(gateway, lines=lines)
                await turned(gateway, name, state)
                if how == "withdrawn":
                    await withdraw(consents[4])
                else:
                    home.clock.offset += timedelta(days=400)
                found = await turn(gateway, name)
                assert found.state is CANCELLED and found.figures["code"] == "consent_ended", (state, how)
                if how == "withdrawn":
                    consents[4] = (await give_consent(home, gateway, debtors[4], **GIVEN)).id
                else:
                    home.clock.offset += timedelta(seconds=1)
                    now = home.clock()
                    until = now + timedelta(days=30)
                    consents = await given(given_at=now.isoformat(), expires_at=until.isoformat())
        examined(home, gateway, collector)


@both_engines
async def test_nobody_is_erased_while_a_handover_speaks_of_them(home: House, collector: SftpRecipient) -> None:
    lines = rows(7)
    iin = lines[1]["identity.iin"]

    async with still(home) as gateway:

        async def erase() -> None:
            await erase_as_two(gateway, "compliance", iin, duties_met=True, **SAID)

        name = await taken_in(gateway, lines=lines)
        for state in (PACKAGED, SENDING):
            await turned(gateway, name, state)
            with pytest.raises(ErasureRefused, match=name):
                await erase()
        await turned(gateway, name, SENT)
        await erase()
        [path] = collector.packages
        collector.acknowledge(path.name, reject={2: "unknown_debtor"})
        await turned(gateway, name, ACKNOWLEDGED)
        await turn(gateway, name)
        assert [each.number for each in await gateway.handovers.findings("collections", name)] == [3]

        # Erased between two chunks, and in the register: a new person for the ledger, whose old entries stay closed.
        again = await taken_in(gateway, 12)
        last = rows(12)[11]["identity.iin"]
        await turned(gateway, again, SENT)

        async def erase_last() -> None:
            await erase_as_two(gateway, "compliance", last, duties_met=True, **SAID)

        third = await taken_in(gateway, 12)
        await turned(gateway, third, SENT, flow=meanwhile(gateway, 2, erase_last))
        assert results(gateway, third) == {"PERMIT": 12}
        examined(home, gateway, collector)


@both_engines
async def test_keys_are_rotated_by_another_process_meanwhile(home: House, collector: SftpRecipient) -> None:
    async def rotate() -> None:
        async with still(home) as other:
            await other.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)

    async with still(home) as gateway:
        names = []
        for state in (QUEUED, DECIDING, PACKAGED):
            names.append(await taken_in(gateway))
            await turned(gateway, names[-1], state)
        await rotate()
        names.append(await taken_in(gateway))  # wrapped by a process that does not know yet
        names.append(await taken_in(gateway, 12, seed=9))
        await turned(gateway, names[-1], PACKAGED, flow=meanwhile(gateway, 2, rotate))
        for name in names:
            await turned(gateway, name, SENT)
        examined(home, gateway, collector)
    assert len(collector.packages) == 5


@both_engines
async def test_a_month_is_moved_while_a_handover_of_it_is_unknown(home: House, tmp_path: Path) -> None:
    """The register of what is open is held against entries that lie in files too."""
    async with SftpRecipient(directory=tmp_path / "quick", open_package=lambda path: path.unlink()) as recipient:
        home.environ |= recipient.environment
        home.clock.offset = timedelta(days=-31)
        month = home.clock().year * 100 + home.clock().month
        long_ago = (TODAY - timedelta(days=200)).isoformat()
        lines = [row(each, breach_notified_on=long_ago) for each in people(7, today=home.clock().date())]
        async with still(home) as gateway:
            sent = await taken_in(gateway, lines=lines)
            await turned(gateway, sent, SENT)
            recipient.fail_next(PackageFault.DROP_AFTER_RENAME)
            unknown = await taken_in(gateway, lines=lines)
            await turned(gateway, unknown, UNKNOWN)
        home.clock.offset = timedelta(0)
        async with still(home) as gateway:
            await gateway.compliance.archive("compliance", month, tmp_path / "files", **SAID)

            def whole() -> tuple[str, ...]:
                with gateway.store.snapshot() as connection:
                    files = from_folder(tmp_path / "files")
                    return verify(connection, key=gateway.setup.log_key, archived=files).unknown

            assert whole() == (unknown,)
            await settle_as_two(gateway, "compliance", unknown, OutcomeResult.DELIVERED, **SAID)
            assert whole() == ()
            assert (await standing(gateway, unknown)).state is SENT
            house_says = home.verified(gateway)
            assert house_says.unread > 14


@both_engines
async def test_an_old_back_up_sends_nothing_twice(home: House, collector: SftpRecipient) -> None:
    """Restored as it stood before the package left: what stands at the recipient is found there, not sent again."""
    said = ("--caller", "compliance", "--person", "A. Operator", "--reason", "the disk broke")
    async with still(home) as gateway:
        names = {}
        for state in (SENDING, PACKAGED, DECIDING):
            names[state] = await taken_in(gateway, 12, seed=len(names))
            await turned(gateway, names[state], state)
        await gateway.compliance.back_up("compliance", home.home / "backup.db", lambda _done, _all: None)
        for name in names.values():
            await turned(gateway, name, SENT)
        travelled = collector.stored
    text = (home.config / "gateway.toml").read_text()
    url = next(line for line in text.splitlines() if line.startswith("url = "))
    home.edit("gateway.toml", (url, 'url = "sqlite:///restored.db"'))
    ran = await home.cli("restore", str(home.home / "backup.db"), *said, "--accept-loss")
    assert ran.code == 0, ran.err
    async with still(home) as gateway:
        # The configuration names another database, so it is another one: what waited does not leave any more.
        for state, after in ((SENDING, SENT), (PACKAGED, UNKNOWN)):
            assert (await turned(gateway, names[state], SENT, CANCELLED, UNKNOWN)).state is after
        assert (await turn(gateway, names[DECIDING])).state is DECIDING, "its register is gone: a person looks"
        await gateway.handovers.cancel("collections", names[DECIDING])
        await settle_as_two(gateway, "compliance", names[PACKAGED], OutcomeResult.DELIVERED, **SAID)
        assert (await turned(gateway, names[PACKAGED], SENT)).state is SENT
        assert home.verified(gateway).unknown == ()
    assert collector.stored == travelled and len(collector.packages) == 3


async def test_the_recipients_key_expires_meanwhile(home: House, collector: SftpRecipient, tmp_path: Path) -> None:
    pair = make_pair("cms", days=1)  # type: ignore[arg-type]
    (tmp_path / "cms.pem").write_bytes(pair.public)
    home.edit(COLLECTOR, ('kind = "age"\n', f'kind = "cms"\nalg = "{pair.seal["alg"]}"\n'))
    home.environ["QAQPA_COLLECTOR_AGE_KEY"] = str(tmp_path / "cms.pem")
    async with still(home) as gateway:
        early, late = await taken_in(gateway), await taken_in(gateway)
        await turned(gateway, early, PACKAGED)
        await turned(gateway, late, DECIDING)
        home.clock.offset = timedelta(days=2)
        for _ in range(3):
            assert (await turn(gateway, late)).state is DECIDING, "nothing is sealed to a key that is over"
    async with still(home) as gateway:
        for name in (early, late):
            before = (await standing(gateway, name)).state
            assert (await turn(gateway, name)).state is before
            assert gateway.handovers.flow.failures[name] == 1
        assert not home.verified(gateway).unknown
    (tmp_path / "cms.pem").write_bytes(make_pair("cms", days=30).public)  # type: ignore[arg-type]
    async with still(home) as gateway:
        await turned(gateway, early, SENT)
        await turned(gateway, late, SENT)
        examined(home, gateway, collector)


@both_engines
async def test_the_same_people_in_neighbouring_chunks(home: House, collector: SftpRecipient) -> None:
    """New persons with two contracts, once in a chunk and once in the next; the same contract twice, chunks apart."""
    first = [row(person) for person in people(3, seed=7, today=TODAY)]
    second = [{**line, "contract.number": f"{line['contract.number']}-2"} for line in first]
    lines = [*first, *second, *first, *[row(person) for person in PEOPLE[:2]], second[0]]
    async with still(home) as gateway:
        name = await taken_in(gateway, lines=lines)
        await turned(gateway, name, SENT)
        assert results(gateway, name) == {"PERMIT": 8, "DUPLICATE": 4}
        with gateway.store.snapshot() as connection:
            assert connection.execute("SELECT count(*) FROM subjects").scalar() == 5
        examined(home, gateway, collector)
    [path] = collector.packages
    went = [(line["ИИН"], line["Номер договора"]) for line in register_in(opened(collector, path.name))]
    assert went == [(line["identity.iin"], line["contract.number"]) for line in [*first, *second, *lines[9:11]]]
