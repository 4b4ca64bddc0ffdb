"""The recipient's key in a whole installation: every seal goes out, and a key that does not serve stops everything."""

from __future__ import annotations

from datetime import timedelta

import pytest

from harness import PEOPLE, House, handover_document, request
from qaqpa.cli import doctor
from qaqpa.cli.findings import Finding, State
from qaqpa.errors import NotConfigured
from qaqpa.model.words import SealKind
from qaqpa.testing.opening import Pair, make_pair

JWE = 'kind = "jwe"\nalg = "ECDH-ES"\n'
ABOUT = "demo-collector: seal.key"


def sealed_to(house: House, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the collector has this key."""
    path = house.home / f"collector{pair.suffix}"
    path.write_bytes(pair.public)
    house.edit(
        "recipients/demo-collector.toml", (JWE, "".join(f'{name} = "{value}"\n' for name, value in pair.seal.items()))
    )
    house.environ["QAQPA_COLLECTOR_KEY"] = str(path)
    monkeypatch.setenv("QAQPA_COLLECTOR_KEY", str(path))
    monkeypatch.setattr(house.collector, "_opened", lambda arrival: pair.open(arrival.body))


def of_key(house: House) -> list[Finding]:
    found = doctor.examine(house.config, house.home, house.environ, house.clock())
    return [each for each in found if each.about in {ABOUT, "demo-collector"}]


@pytest.mark.parametrize("kind", [SealKind.AGE, SealKind.CMS, SealKind.OPENPGP])
async def test_a_debtor_file_goes_out_under_every_seal(
    house: House, kind: SealKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed_to(house, make_pair(kind), monkeypatch)
    async with house.gateway() as gateway:
        disclosure = await gateway.disclose("collections", request(handover_document(PEOPLE[0])))
        assert house.entries(gateway, "intent")[0]["seal"] == kind
    assert disclosure.report.keys() == {"receipt"}
    assert [file["debtor"]["iin"] for file in house.collector.received] == [PEOPLE[0].iin]


async def test_from_its_keys_end_on_nothing_is_entered_for_a_recipient(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed_to(house, make_pair(SealKind.CMS, days=2), monkeypatch)
    async with house.gateway() as gateway:
        await gateway.disclose("collections", request(handover_document(PEOPLE[0])))
        house.clock.offset = timedelta(days=3)
        with pytest.raises(NotConfigured, match="key ended on"):
            await gateway.disclose("collections", request(handover_document(PEOPLE[1])))
        assert len(house.entries(gateway, "intent")) == 1
    assert len(house.collector.received) == 1


@pytest.mark.parametrize(
    ("kind", "days", "state", "words"),
    [
        (SealKind.CMS, 300, State.OK, "in force until"),
        (SealKind.CMS, 29, State.LOOK, "get the recipient's new one in time"),
        (SealKind.OPENPGP, 29, State.LOOK, "get the recipient's new one in time"),
        (SealKind.CMS, 0, State.WRONG, "expired on"),
    ],
)
async def test_doctor_and_check_look_at_the_end_of_a_key(
    house: House, kind: SealKind, days: int, state: State, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed_to(house, make_pair(kind, days=days), monkeypatch)
    about = "demo-collector" if state is State.WRONG else ABOUT
    (found,) = [each for each in of_key(house) if each.about == about]
    assert found.state is state
    assert words in found.message
    ran = await house.cli("check", "--json")
    assert ran.code == (2 if state is State.WRONG else 0)
    said = [(each["state"], each["about"]) for each in ran.json["keys"]]
    assert said == ([] if state is State.OK else [(state, ABOUT)])
    told = await house.cli("check")
    assert told.code == ran.code
    assert ("No problems." in told.out) == (state is not State.WRONG)
    assert (ABOUT in told.out) == (state is not State.OK)


async def test_a_key_that_is_not_the_pinned_one_is_named_with_its_file(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = make_pair(SealKind.OPENPGP), make_pair(SealKind.OPENPGP)
    sealed_to(house, ours, monkeypatch)
    path = house.home / "collector.pgp"
    path.write_bytes(other.public)
    ran = await house.cli("check")
    assert ran.code == 2
    for text in (str(path), ours.seal["fingerprint"], other.seal["fingerprint"], "Keys are refused."):
        assert text in ran.out
    async with house.gateway() as gateway:
        assert "seal.fingerprint" in gateway.unready["demo-collector"]
        with pytest.raises(NotConfigured):
            await gateway.disclose("collections", request(handover_document(PEOPLE[0])))
        assert house.entries(gateway, "intent") == []


async def test_a_key_without_an_end_is_not_spoken_of(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.about for each in of_key(house)] == ["demo-collector"]
    sealed_to(house, make_pair(SealKind.AGE), monkeypatch)
    assert [each.about for each in of_key(house)] == ["demo-collector"]
    assert (await house.cli("check", "--json")).json["keys"] == []
