"""`qaqpa policy show`: the matrix is what is decided from, for people and for programs."""

from __future__ import annotations

import shutil
from itertools import product

import pytest

from harness import House
from qaqpa.gateway import load_setup
from qaqpa.model.decision import Asked
from qaqpa.model.identifiers import CallerId, RecipientId
from qaqpa.policy.law import GUARDS, names_for


async def test_the_matrix_says_every_route_and_nothing_else(house: House) -> None:
    policy = load_setup(house.config, home=house.home, environ=house.environ).policy
    ran = await house.cli("policy", "show", "--json")
    assert ran.code == 0, ran.err
    told = {(row["caller"], row["recipient"], row["operation"], row["purpose"]): row for row in ran.json["routes"]}
    operations = {route.operation.name for route in policy.routes.values()}
    assert len(told) > 5
    for of, to, operation, purpose in product(policy.callers, policy.recipients, operations, policy.purposes):
        route = policy.find(Asked(CallerId(of), RecipientId(to), operation, purpose))
        row = told.pop((of, to, operation, purpose), None)
        if route is None:
            assert row is None, "what is not decided so is not told"
            continue
        assert row is not None, (of, to, operation, purpose)
        assert (row["ground"], tuple(row["clauses"]), row["service"]) == (route.ground, route.clauses, route.service)
        assert row["fields"] == {path: rule.transform or "as it is" for path, rule in route.fields.items()}
        assert set(row["returns"]) == route.returns
        law = [guard["guard"] for guard in row["guards"] if guard["by"] == "law"]
        assert tuple(law) == names_for(route.ground)
        own = {guard["guard"]: guard for guard in row["guards"] if guard["by"] == "operator"}
        assert list(own) == [guard.name for guard in route.guards]
        for guard in route.guards:
            assert own[guard.name]["clause"] == guard.config.clause
            assert own[guard.name]["otherwise"]["kk"] == guard.config.otherwise.kk
        assert {*row["clauses"], *(guard["clause"] for guard in row["guards"])} <= ran.json["clauses"].keys()
    assert told == {}
    assert ran.json["otherwise"] == {"result": "deny", "guard": "route_known", "clause": GUARDS["route_known"]}
    assert ran.json["policy"] == "2025-01"


async def test_people_read_every_name_of_it_and_may_narrow_it(house: House) -> None:
    every = (await house.cli("policy", "show", "--json")).json["routes"]
    shown = await house.cli("policy", "show")
    assert shown.code == 0, shown.err
    for row in every:
        assert f"{row['caller']} → {row['recipient']}: {row['operation']} for {row['purpose']}" in shown.out
        assert all(path in shown.out for path in (*row["fields"], *row["returns"]))
        assert all(f"{guard['guard']} ({guard['clause']}" in shown.out for guard in row["guards"])
    assert f"{len(every)} of {len(every)} routes are shown" in shown.out
    narrowed = await house.cli("policy", "show", "--of", "collections", "--purpose", "debt_collection")
    assert "loan-scoring" not in narrowed.out and "collections → demo-collector: handover" in narrowed.out
    few = (await house.cli("policy", "show", "--json", "--recipient", "pension-center")).json["routes"]
    assert {row["recipient"] for row in few} == {"pension-center"}
    none = await house.cli("policy", "show", "--json", "--of", "nobody")
    assert (none.code, none.json["routes"]) == (0, [])
    assert not (house.home / "qaqpa.db").exists(), "it needs no ledger and makes none"


async def test_a_draft_is_shown_in_its_place(house: House) -> None:
    draft = house.config / "draft"
    for part in ("policy", "recipients"):
        shutil.copytree(house.config / part, draft / part)
    path = draft / "recipients" / "demo-collector.toml"
    mobile = '"contact.mobile",\n'
    path.write_text(path.read_text().replace(mobile, '{ path = "contact.mobile", as = "mask" },\n'))
    [before, _] = (await house.cli("policy", "show", "--json", "--recipient", "demo-collector")).json["routes"]
    [after, _] = (
        await house.cli("policy", "show", "--json", "--recipient", "demo-collector", "--draft", str(draft))
    ).json["routes"]
    assert (before["fields"]["contact.mobile"], after["fields"]["contact.mobile"]) == ("as it is", "mask")
    path.write_text(path.read_text().replace('purpose = "debt_collection"', 'purpose = "no_such"'))
    ran = await house.cli("policy", "show", "--draft", str(draft))
    assert ran.code == 2 and "purpose" in ran.err


@pytest.mark.parametrize("option", ["--config", "--draft"])
async def test_a_folder_that_is_none_is_said(house: House, option: str) -> None:
    ran = await house.cli("policy", "show", option, str(house.home / "nowhere"))
    assert ran.code == 2 and "nowhere" in ran.err, ran
