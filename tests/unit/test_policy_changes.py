"""What one policy says that another does not: each kind of change is told once, and nothing else is a change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness import ROOT
from qaqpa.gateway.setup import load_drafted, load_setup
from qaqpa.policy import Policy
from qaqpa.policy.changes import Change, What, changes, configured_guards

COLLECTOR = "recipients/demo-collector.toml"
BUREAU = "recipients/first-credit-bureau.toml"
POLICY, GUARDS, CLAUSES = "policy/policy.toml", "policy/guards.toml", "policy/clauses.toml"
HANDOVER = "collections demo-collector handover debt_collection"
RECALL = "collections demo-collector recall debt_collection"
SHA = "6e2e1291cb76625f047b7cff419ff88eb3a88782695c242eeb642106d0abd16e"
NEW_VERSION = (
    '\n[[versions]]\nid = "2027-01"\nfrom = 2027-01-01\nsha256 = "' + SHA + '"\n'
    'title = { ru = "Р", kk = "К", en = "E" }\n'
)  # fmt: skip
ROUTE = '[[routes]]\ncaller = "collections"\noperation = "recall"'
MORATORIUM = "from = 2026-05-02"


def edited(folder: Path, file: str, *replacements: tuple[str, str]) -> None:
    path = folder / file
    text = path.read_text()
    for old, new in replacements:
        assert old in text, f"{old!r} does not stand in {file}"
        text = text.replace(old, new, 1)
    path.write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A draft that says the same."""
    for name in ("policy", "recipients"):
        shutil.copytree(ROOT / "config" / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def in_force(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_setup(ROOT / "config", home=tmp_path_factory.mktemp("home"), environ={}).policy


def drafted(folder: Path, tmp_path: Path) -> Policy:
    setup = load_setup(ROOT / "config", home=tmp_path, environ={})
    found = load_drafted(folder, setup.config)
    assert found.policy is not None, found.problems
    return found.policy


CASES = {
    "what came back": (BUREAU, ('"report.risk_grade", ', ""), What.RETURNS_REMOVED, ("report.risk_grade",)),
    "a field less": (COLLECTOR, ('    "contact.mobile",\n', ""), What.FIELDS_REMOVED, ("contact.mobile",)),
    "another form": (
        COLLECTOR,
        ('    "contact.registered_address",\n', '    { path = "contact.registered_address", as = "region_of" },\n'),
        What.FIELDS_CHANGED,
        ("contact.registered_address",),
    ),
    "a condition less": (
        COLLECTOR,
        ('    "borrower_notified",\n', ""),
        What.CONDITIONS_REMOVED,
        ("borrower_notified",),
    ),
    "a condition more": (
        COLLECTOR,
        ('guards = ["recipient_is_collector"]', 'guards = ["recipient_is_collector", "days_overdue_positive"]'),
        What.CONDITIONS_ADDED,
        ("days_overdue_positive",),
    ),
    "another agreement": (COLLECTOR, ("expires_on = 2027-12-31", "expires_on = 2028-12-31"), What.AGREEMENT, ()),
    "an affiliate": (COLLECTOR, ("affiliated = false", "affiliated = true"), What.RECIPIENT_CHANGED, ("affiliated",)),
    "other clauses": (COLLECTOR, ('"2.3(2)", "2.3(4)", "5.5"]', '"2.3(2)", "2.3(4)"]'), What.ROUTE_CLAUSES, ()),
    "another service": (COLLECTOR, ("until they are destroyed (5.5)", "for good"), What.ROUTE_GROUND, ()),
    "an expression": (GUARDS, ("duration('744h')", "duration('1000h')"), What.GUARD_CONDITION, ()),
    "a date": (GUARDS, ("until = 2026-05-01", "until = 2026-06-01"), What.GUARD_DATES, ()),
    "a law": (GUARDS, ('"62-VI art. 6(5)"', '"62-VI art. 7"'), What.GUARD_CITES, ()),
    "a sentence": (GUARDS, ("A payment under the contract is overdue.", "Overdue."), What.GUARD_REWORDED, ()),
    "a version": (POLICY, ("version = 1\n", "version = 1\n" + NEW_VERSION), What.VERSION_ADDED, ()),
    "a document": (POLICY, (SHA, SHA[::-1]), What.VERSION_CHANGED, ()),
    "a summary": (CLAUSES, ("The data are needed to conclude", "The data serve to conclude"), What.CLAUSE_REWORDED, ()),
}


def test_the_same_is_no_change_though_its_files_look_different(folder: Path, tmp_path: Path, in_force: Policy) -> None:
    edited(folder, COLLECTOR, ("version = 1\n", "# a comment\nversion = 1\n\n"))
    edited(
        folder, COLLECTOR, ('    "identity.iin",\n    "identity.last_name",', '"identity.last_name",\n"identity.iin",')
    )
    assert changes(in_force, drafted(folder, tmp_path)) == []


@pytest.mark.parametrize("case", CASES)
def test_each_change_is_told_once(case: str, folder: Path, tmp_path: Path, in_force: Policy) -> None:
    file, replacement, what, names = CASES[case]
    edited(folder, file, replacement)
    found = changes(in_force, drafted(folder, tmp_path))
    assert [(each.what, each.names) for each in found if each.what is not What.GUARD_REMOVED] == [(what, names)]


def test_and_its_undoing_is_told_too(folder: Path, tmp_path: Path, in_force: Policy) -> None:
    edited(folder, COLLECTOR, ('    "contact.mobile",\n', ""))
    back = changes(drafted(folder, tmp_path), in_force)
    assert back == [Change(What.FIELDS_ADDED, HANDOVER, ("contact.mobile",))]
    assert back[0].effect == "wider"


def test_a_route_that_goes_and_a_recipient_that_goes(folder: Path, tmp_path: Path, in_force: Policy) -> None:
    path = folder / COLLECTOR
    path.write_text(path.read_text().partition(ROUTE)[0])
    (folder / "recipients" / "pension-center.toml").unlink()
    found = changes(in_force, drafted(folder, tmp_path))
    assert Change(What.ROUTE_REMOVED, RECALL) in found
    assert Change(What.RECIPIENT_REMOVED, "pension-center") in found
    assert {each.effect for each in found if each.what is not What.GUARD_REMOVED} == {"narrower"}
    added = changes(drafted(folder, tmp_path), in_force)
    assert Change(What.ROUTE_ADDED, RECALL, ("contract.number",)) in added


def test_a_condition_that_no_route_asks_for_any_more(folder: Path, tmp_path: Path, in_force: Policy) -> None:
    edited(folder, COLLECTOR, ('    "collector_clause_in_contract",\n', ""))
    new = drafted(folder, tmp_path)
    assert "collector_clause_in_contract" in configured_guards(in_force)
    assert "collector_clause_in_contract" not in configured_guards(new)
    assert What.GUARD_REMOVED in {each.what for each in changes(in_force, new)}
    assert What.GUARD_ADDED in {each.what for each in changes(new, in_force)}


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        ("", 'as = "region_of"', "narrower"),
        ('as = "region_of"', "", "wider"),
        ('as = "region_of"', 'as = "mask"', "other"),
    ],
)
def test_another_form_lets_less_out_unless_it_was_one_before(
    old: str, new: str, effect: str, folder: Path, tmp_path: Path
) -> None:
    line = '    "contact.registered_address",\n'

    def policy_with(form: str) -> Policy:
        rule = f'{{ path = "contact.registered_address", {form} }}' if form else '"contact.registered_address"'
        edited(folder, COLLECTOR, (line, f"    {rule},\n"))
        made = drafted(folder, tmp_path)
        edited(folder, COLLECTOR, (f"    {rule},\n", line))
        return made

    assert [each.effect for each in changes(policy_with(old), policy_with(new))] == [effect]
