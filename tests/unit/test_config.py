# long: one table of the faults that a configuration can have
"""What a broken configuration gets: every problem at once, each with its file, its true line, its key and a way out."""

from __future__ import annotations

import re
import shutil
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from harness import House
from qaqpa.config import Source, base
from qaqpa.config.lines import Key, locate
from qaqpa.config.lines import line_of as nearest
from qaqpa.errors import ConfigError
from qaqpa.gateway import load_setup
from qaqpa.gateway.setup import _check_settings
from qaqpa_adapters.demo_collector import DemoCollector

ROOT = Path(__file__).parent.parent.parent
GATEWAY, CALLERS = "gateway.toml", "callers.toml"
POLICY, CLAUSES, GUARDS = "policy/policy.toml", "policy/clauses.toml", "policy/guards.toml"
BUREAU, COLLECTOR = "recipients/first-credit-bureau.toml", "recipients/demo-collector.toml"
BUYER = "recipients/demo-cession-buyer.toml"
PENSION = "recipients/pension-center.toml"
Change = Callable[[str], str]


def swap(*pairs: tuple[str, str]) -> Change:
    """Replace texts, each of which must stand in the file."""

    def change(text: str) -> str:
        for old, new in pairs:
            assert old in text, f"{old!r} does not stand in the file"
            text = text.replace(old, new, 1)
        return text

    return change


def without(pattern: str) -> Change:
    """Leave out what matches `pattern` once."""

    def change(text: str) -> str:
        left, count = re.subn(pattern, "", text, count=1, flags=re.DOTALL | re.MULTILINE)
        assert count == 1, f"{pattern!r} matches nothing"
        return left

    return change


def line_of(text: str, needle: str, nth: int) -> int:
    """The line, from 1, of the nth line that holds `needle`; 0 where nothing is looked for."""
    found = [number for number, line in enumerate(text.splitlines(), 1) if needle in line]
    assert not needle or nth <= len(found), f"{needle!r} does not stand in the edited file {nth} times"
    return found[nth - 1] if needle else 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path / "config"


def edit(folder: Path, file: str, change: Change) -> str:
    path = folder / file
    text = change(path.read_text())
    path.write_text(text)
    return text


def refused(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_setup(folder, home=folder.parent, environ={})
    return caught.value


@dataclass(frozen=True)
class Case:
    """One fault. `at` is a text on the line that must be named, the `nth` with it; "" where no line can be."""

    file: str
    change: Change
    at: str
    key: str
    message: str
    nth: int = 1
    count: int = 1


def in_route(old: str, new: str, at: str, key: str, message: str, count: int = 1) -> Case:
    """A fault in the collector's route."""
    return Case(COLLECTOR, swap((old, new)), at, f"routes.0{key}", message, count=count)


def in_fields(rule: str, key: str, message: str, count: int = 1) -> Case:
    """A fault in one of its fields: the whole list stands on one line of the answer."""
    return in_route('    "identity.birth_date",', f"    {rule},", "fields = [", f".fields{key}", message, count)


def in_when(expression: str, at: str, message: str) -> Case:
    key = "guards.days_overdue_positive.when"
    return Case(GUARDS, swap(('"contract.days_overdue > 0"', f'"{expression}"')), at, key, message)


def in_purpose(clause: str, purpose: str, at: str, key: str, message: str) -> Case:
    change = swap(('"debt_collection"', f'"{purpose}"'), ('"1.1(15)"', f'"{clause}"'))
    return Case(COLLECTOR, change, at, f"routes.0.{key}", message)


def second_version(name: str, day: str, sha256: str = "0" * 64) -> Change:
    title = 'title = { ru = "а", kk = "ә", en = "a" }'
    return lambda text: f'{text}\n[[versions]]\nid = "{name}"\nfrom = {day}\nsha256 = "{sha256}"\n{title}\n'


NO_KAZAKH = without(r'^kk = "[^"]*"\n(?=en = [^\n]*\n\n\[clauses."2.3\(1\)"\])')
SCORING = "callers.loan-scoring.roles"
CASES = {
    # --- form ---
    "not TOML": Case(GATEWAY, swap(("[store]", "[store")), "[store", "", "is not TOML"),
    "a key twice": Case(GATEWAY, swap(("[store]", '[store]\nurl = "x"')), "sqlite", "", "is not TOML"),
    "unknown key": Case(GATEWAY, swap(("language", 'colour = "red"\nlanguage')), "colour", "colour", "unknown key"),
    "unknown key of a route": in_route("ground", "grund = 1\nground", "grund", ".grund", "unknown key"),
    "missing key": Case(GATEWAY, without(r"^name = .*?\n"), "[operator]", "operator.name", "is missing"),
    "missing file version": Case(POLICY, without(r"^version = 1\n"), "", "version", "is missing"),
    "file version of the future": Case(CALLERS, swap(("version = 1", "version = 2")), "version", "version", "be 1"),
    "text for a number": Case(BUREAU, swap(("= 200", '= "fast"')), "= \"fast", "limits.per_second", "valid number"),
    "true for a number": Case(BUREAU, swap(("= 200", "= true")), "per_second", "limits.per_second", "valid number"),
    "a limit without end": Case(BUREAU, swap(("= 200", "= inf")), "= inf", "limits.per_second", "finite number"),
    "word for a date": Case(POLICY, swap(("2025-01-01", '"soon"')), "from =", "versions.0.from", "date"),
    "unknown role": Case(CALLERS, swap(('"disclose", "consents"', '"fly"')), "fly", f"{SCORING}.0", "disclose"),
    "nobody's receipts": Case(
        CALLERS, swap(('"disclose", "consents"', '"acknowledge"')), "[callers.loan-scoring]", "callers.loan-scoring",
        "go together",
    ),
    "a recipient that may more": Case(
        CALLERS, swap(('"disclose", "consents"]', '"disclose", "acknowledge"]\nrecipient = "demo-collector"')),
        "[callers.loan-scoring]", "callers.loan-scoring", "gets no other role",
    ),
    "receipts of an unknown recipient": Case(
        CALLERS, swap(('"review", "consents", "operate"]', '"acknowledge"]\nrecipient = "nobody"')),
        'recipient = "nobody"', "callers.compliance.recipient", "no recipients/nobody.toml",
    ),
    "no role": Case(CALLERS, swap(('"disclose", "consents"', "")), "roles", SCORING, "at least 1"),
    "wrong BIN": Case(GATEWAY, swap(("0017", "0018")), "bin =", "operator.bin", "BIN has a wrong check digit"),
    "bad network": Case(COLLECTOR, swap(("env:QAQPA_COLLECTOR_NETWORKS", "10.0.0.0/33")), "10.0",
        "channel.private_networks.0", "network"),
    "bad key pin": Case(BUREAU, swap(("connect_", 'key_pins = ["sha256/YWJj"]\nconnect_')), "YWJj",
        "channel.key_pins.0", "a key pin is"),
    "agreement without confidentiality": Case(COLLECTOR, swap(("ity = true", "ity = false")), "confidentiality",
        "agreement.confidentiality", "True"),
    "agreement that does not speak of it": Case(COLLECTOR, without(r"^confidentiality = true\n"), "[agreement]",
        "agreement.confidentiality", "is missing"),
    "unknown algorithm of a seal": Case(COLLECTOR, swap(("ECDH-ES", "RSA1_5")), "RSA1_5", "seal.alg", "RSA-OAEP-256"),
    "no reason for TLS alone": Case(BUREAU, without(r"^reason = .*?\n"), "[seal]", "seal.reason", "is missing"),
    "size without a transform": in_fields('{ path = "identity.birth_date", size = 5 }', ".4", "size goes"),
    "bucket without a size": in_fields('{ path = "contract.rate", as = "bucket" }', ".4", "size goes"),
    "unknown transform": in_fields('{ path = "contract.rate", as = "rot13" }', ".4.as", "mask"),
    "file named otherwise": Case(COLLECTOR, swap(('id = "demo-collector"', 'id = "other"')), 'id = "other"', "id",
        "must be demo-collector"),
    # --- policy ---
    "two versions of one date": Case(POLICY, second_version("2026", "2025-01-01"), "from =", "versions.1.from",
        "same from", nth=2),
    "two versions of one name": Case(POLICY, second_version("2025-01", "2026-01-01"), "id =", "versions.1.id",
        "same id", nth=2),
    "no SHA-256": Case(POLICY, second_version("2026", "2026-01-01", "???"), "???", "versions.1.sha256", "pattern"),
    "one purpose of two clauses": Case(CLAUSES, swap(("statistical_research", "client_database")),
        '"client_database"', "clauses.1.1(23).purpose", "is the purpose of 1.1(22) already", nth=2),
    "a clause 1.1 without its purpose": Case(CLAUSES, without(r'^purpose = "client_database"\n'), '"1.1(22)"',
        "clauses.1.1(22).purpose", "names its purpose"),
    "a purpose of another clause": Case(CLAUSES, swap(('"2.2"]', '"2.2"]\npurpose = "fun"')), '"fun"',
        "clauses.2.2.purpose", "no other clause does"),
    "a clause without Kazakh": Case(CLAUSES, NO_KAZAKH, '"2.2"', "clauses.2.2.kk", "is missing"),
    "no clause of the vocabulary's": Case(CLAUSES, swap(('"2.1(2)"', '"2.9"')), "", "clauses", "2.1(2) is missing"),
    "no clause of law's guards": Case(CLAUSES, swap(('"9.2"]', '"9.9"]')), "", "clauses", "9.2 is missing"),
    # --- guards ---
    "guard that does not type-check": in_when("contract.days_overdue > 'x'", "'x'", "no matching overload"),
    "guard that is no condition": in_when("contract.days_overdue", 'overdue"', "its type is INT"),
    "guard on an unknown fact": in_when("contract.mood > 1", "mood", "contract.days_overdue"),
    "guard that is no CEL": in_when("contract.days_overdue >", 'overdue >"', "Syntax error"),
    "guard on a clause that does not exist": Case(GUARDS, swap(('"6.1"', '"6.9"')), '"6.9"',
        "guards.consent_recent.clause", "clause 6.9 does not exist"),
    "guard that ends before it begins": Case(GUARDS, swap(("[guards.consent_recent]",
        "[guards.consent_recent]\nfrom = 2026-01-02\nuntil = 2026-01-01")), "until = 2026-01-01",
        "guards.consent_recent.until", "lies before its from"),
    # --- recipients and routes ---
    "unknown adapter": Case(COLLECTOR, swap(("demo_collector", "pigeon")), "pigeon", "adapter",
        "demo_collector, first_credit_bureau"),
    "secret in clear": Case(BUREAU, swap(("env:QAQPA_FCB_PASSWORD", "hunter2")), "password", "settings.password",
        "never written here"),
    "unknown setting": Case(BUREAU, swap(("report_code", 'shade = "x"\nreport_code')), "shade", "settings.shade",
        "not permitted"),
    "unknown setting that is a reference": Case(BUREAU, swap(("report_code", 'shade = "env:X"\nreport_code')),
        "shade", "settings.shade", "not permitted"),
    "missing setting": Case(BUREAU, without(r"^password = .*?\n"), "[settings]", "settings.password", "required"),
    "setting of another value": Case(BUREAU, swap(("= 4 ", "= 5 ")), "= 5 ", "settings.report_code", "2, 4, 6, 7 or"),
    "route without an agreement": Case(COLLECTOR, without(r"^\[agreement\].*?(?=^\[channel\])"), "[[routes]]",
        "routes.0", "no [agreement]", count=2),
    "unknown caller": in_route('"collections"', '"marketing"', "marketing", ".caller", "no caller"),
    "caller who may not disclose": in_route('"collections"', '"compliance"', "compliance", ".caller", "lacks the role"),
    "unknown operation": in_route('n = "handover"', 'n = "gossip"', "gossip", ".operation", "it has: handover"),
    "purpose that the policy lacks": in_route('"debt_collection"', '"fun"', '"fun"', ".purpose", "no purpose fun"),
    "token of a consent that has no place": in_route("ground =", "kdp = true\nground =", "kdp = true", ".kdp",
        "no place for the token"),
    "token of a consent on another ground": Case(PENSION, swap(('"consent"', '"legal_protection"'),
        ('"2.3(1)"', '"2.3(3)"')), "kdp = true", "routes.0.kdp", "goes with the ground consent"),
    "advertising": in_purpose("1.1(17)", "service_advertising", "service_adv", "purpose", "no personal data leaves"),
    "other purposes without an instrument": in_purpose("1.1(24)", "other_purposes", "[[ro", "instrument", "1.1(24)"),
    "instrument of another purpose": in_route("ground =", 'instrument = "x"\nground =', '"x"', ".instrument",
        "1.1(24)"),
    "ground service without a service": Case(COLLECTOR, swap(('"legal_protection"', '"service"'), ('"2.3(3)"',
        '"2.3(2)"')), "[[routes]]", "routes.0.service", "must name it"),
    "clause that does not exist": in_route('"2.3(4)"]', '"8.8"]', '"8.8"', ".clauses", "clause 8.8 does not exist"),
    "ground's clause not cited": in_route('"2.3(3)", ', "", "clauses =", ".clauses", "must cite 2.3(3)"),
    "purpose's clause not cited": in_route('"1.1(15)", ', "", "clauses =", ".clauses", "must cite 1.1(15)"),
    "field outside the vocabulary": in_fields('"identity.shoe_size"', "", "identity.shoe_size is no field"),
    "group for a field": in_fields('"identity"', "", "identity is no field"),
    "answer for a field": in_fields('"report.score"', "", "report.score is no field", count=2),
    "field twice": in_fields('"identity.iin"', "", "identity.iin stands twice"),
    "field that the operation does not use": in_fields('"contact.email"', "", "not used by handover"),
    "needed field missing": in_route('"contract.number",', "", "fields = [", ".fields", "contract.number is missing"),
    "transform of the wrong type": in_fields('{ path = "identity.birth_date", as = "bucket", size = 5 }', "",
        "cannot be passed as bucket: it is date"),
    "unknown guard": in_route("borrower_notified", "borrower_amused", "guards = [", ".guards", "borrower_amused"),
    "answer not given": in_route("report.receipt", "report.score", "returns", ".returns", "report.score is not among"),
    "reports for notices of recall": Case(COLLECTOR, swap(('operation = "recall"',
        'operation = "recall"\nreuse_for = "24h"')), "reuse_for", "routes.1.reuse_for", "recall must leave"),
    "missing endpoint": Case(COLLECTOR, swap(("handover = ", "takeover = ")), "[channel.endpoints]",
        "channel.endpoints", "named handover"),
    "route twice": Case(COLLECTOR, lambda text: text + text[text.rindex("[[routes]]") :],
        "[[routes]]", "routes.2", "stands above", nth=3),
    "guard on what the file does not say of the recipient": Case(COLLECTOR, without(r"^affiliated = .*?\n"),
        "guards = [", "routes.0.guards", "asks for affiliated, which this file does not say"),
    "pseudonym for one person": in_route('    "contract.number",',
        '    { path = "contract.number", as = "pseudonym" },', "fields = [", ".fields", "only a handover has the key"),
    "pseudonym without k": Case(BUYER, without(r"^k = 5\n"), "[[routes]]", "routes.0.k", "goes with rows that are",
        count=2),
    "k without what it is of": Case(BUYER, without(r"^quasi = .*?^\]\n"), "[[routes]]", "routes.0.quasi",
        "goes with k"),
    "k of one": Case(BUYER, swap(("k = 5", "k = 1")), "k = 1", "routes.0.k", "greater than or equal to 2"),
    "k without a pseudonym": in_route("returns = ", 'k = 5\nquasi = ["identity.birth_date"]\nreturns = ', "k = 5",
        ".k", "goes with rows that are"),
    "quasi-identifier that does not leave": Case(BUYER, swap(('    "contract.amount",', '    "contract.price",')),
        "quasi = [", "routes.0.quasi", "contract.price is none of the fields"),
    "an address in a portfolio": Case(BUYER, swap(('{ path = "contact.registered_address", as = "region_of" }',
        '"contact.registered_address"')), "fields = [", "routes.0.fields", "points at the person"),
    "a contract's number in a portfolio": Case(BUYER, swap(('{ path = "contract.number", as = "pseudonym" }',
        '"contract.number"')), "fields = [", "routes.0.fields", "points at the person", count=2),
    "a masked address in a portfolio": Case(BUYER, swap(('ess", as = "region_of" }', 'ess", as = "mask" }')),
        "fields = [", "routes.0.fields", "points at the person"),
    "a name in a portfolio": Case(BUYER, swap(('    "contract.currency",', '    "identity.last_name",')), "fields = [",
        "routes.0.fields", "not used by portfolio_preview", count=2),
    "state's share written as a word": Case(BUYER, swap(("state_majority = false", 'state_majority = "no"')),
        "state_maj",
        "state_majority", "valid boolean"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_fault_is_reported_once_where_it_stands(folder: Path, case: Case) -> None:
    text = edit(folder, case.file, case.change)
    error = refused(folder)
    problem = error.problems[0]
    assert len(error.problems) == case.count and case.message in problem.message, str(error)
    assert (problem.file, problem.line, problem.key) == (case.file, line_of(text, case.at, case.nth), case.key)
    assert "hunter2" not in str(error) and "230340000018" not in str(error)


@pytest.mark.parametrize("file", [GATEWAY, CALLERS, POLICY, CLAUSES, GUARDS])
def test_a_file_that_is_not_utf8_or_not_there_is_named(folder: Path, file: str) -> None:
    (folder / file).write_bytes(b'version = 1\nname = "\xff"\n')
    assert str(refused(folder)) == f"{file}: is not UTF-8"
    (folder / file).unlink()
    assert str(refused(folder)) == f"{file}: cannot be read: No such file or directory"


SLOW_LIMIT = swap(("per_second = 200", 'per_second = "fast"'))
NO_FACT = swap(("contract.days_overdue > 0", "contract.mood"))
NO_GUARD = swap(("borrower_notified", "borrower_amused"))
THREE = {
    "of form": ((GATEWAY, swap(("language", "lingo"))), (CALLERS, swap(("roles", "rolls"))), (BUREAU, SLOW_LIMIT)),
    "of meaning": ((CLAUSES, swap(('"9.2"]', '"9.9"]'))), (GUARDS, NO_FACT), (COLLECTOR, NO_GUARD)),
    "of both": ((GUARDS, NO_FACT), (BUREAU, SLOW_LIMIT), (COLLECTOR, NO_GUARD)),
    "of both, one in the first file read": (
        (GATEWAY, swap(("language", "lingo"))),
        (GUARDS, NO_FACT),
        (COLLECTOR, NO_GUARD),
    ),
}


@pytest.mark.parametrize("edits", THREE.values(), ids=THREE.keys())
def test_three_faults_in_three_files_are_reported_at_once_and_sorted(
    folder: Path, edits: tuple[tuple[str, Change], ...]
) -> None:
    for file, change in edits:
        edit(folder, file, change)
    problems = refused(folder).problems
    assert {problem.file for problem in problems} == {file for file, _ in edits}
    assert list(problems) == sorted(problems)


def test_a_problem_names_the_file_that_there_is_even_where_the_id_differs(folder: Path) -> None:
    edit(folder, COLLECTOR, swap(('id = "demo-collector"', 'id = "other"'), ("borrower_notified", "borrower_amused")))
    assert {problem.file for problem in refused(folder).problems} == {COLLECTOR}


def test_a_field_rule_written_as_a_table_of_its_own_is_found(folder: Path) -> None:
    pattern = re.compile(r"^fields = \[.*?^\]\n", re.DOTALL | re.MULTILINE)
    rules = '[[routes.fields]]\npath = "identity.iin"\n[[routes.fields]]\npath = "identity.sex"\nsize = "wide"\n'
    text = edit(folder, COLLECTOR, lambda text: pattern.sub("", text[: text.rindex("[[routes]]")]) + rules)
    problem = refused(folder).problems[0]
    assert (problem.key, problem.line) == ("routes.0.fields.1.size", line_of(text, "size", 1))


class OptionalSecret(BaseModel, extra="forbid"):
    """Settings of an adapter that can do without its token."""

    agency_code: str
    token: SecretStr | None = None


class Courteous(DemoCollector):
    """An adapter with an optional secret."""

    Settings = OptionalSecret


def test_an_optional_secret_is_not_written_in_clear_either(folder: Path) -> None:
    setup = load_setup(folder, home=folder.parent, environ={})
    recipient = setup.config.recipients["demo-collector"]
    in_clear = recipient.model_copy(update={"settings": {"agency_code": "KA-7", "token": "hunter2"}})
    source = Source(folder)
    _check_settings(in_clear, Courteous, source)
    assert [problem.key for problem in source.problems] == ["settings.token"]


# --- lines -----------------------------------------------------------------------------------------

WRITTEN: tuple[tuple[str, Key], ...] = (
    ("version = 1                 # a comment = not a key", ("version",)),
    ("[store]                     # [not.a.table]", ("store",)),
    ('url = "sqlite:///a.db"      # url = "b"', ("store", "url")),
    ("'quoted key' = 1", ("store", "quoted key")),
    ('"1.1(1)" = 2', ("store", "1.1(1)")),
    ('a.b . "c.d" = 3', ("store", "a", "b", "c.d")),
    ("  [ spaced . table ]", ("spaced", "table")),
    ("key = { inner = 1 }", ("spaced", "table", "key")),
    ('[clauses."1.1(24)"]', ("clauses", "1.1(24)")),
    ('en = "[not a table] = x"', ("clauses", "1.1(24)", "en")),
    ("list = [", ("clauses", "1.1(24)", "list")),
    ('    "one",', ()),
    ("]", ()),
    ("[[routes]]", ("routes", 0)),
    ('caller = "a"', ("routes", 0, "caller")),
    ("[routes.limits]", ("routes", 0, "limits")),
    ("rate = 1", ("routes", 0, "limits", "rate")),
    ("[[routes]]", ("routes", 1)),
    ("[routes.limits]", ("routes", 1, "limits")),
    ("rate = 2", ("routes", 1, "limits", "rate")),
    ("[[routes.steps]]", ("routes", 1, "steps", 0)),
    ('name = "x"', ("routes", 1, "steps", 0, "name")),
    ("[[routes.steps]]", ("routes", 1, "steps", 1)),
    ('name = "y"', ("routes", 1, "steps", 1, "name")),
    ("[after]", ("after",)),
    ("key = 1", ("after", "key")),
)
TEXT = "\n".join(line for line, _ in WRITTEN)
LOCATED = {key: number for number, (_, key) in enumerate(WRITTEN, 1) if key}


@pytest.mark.parametrize("key", LOCATED, ids=lambda key: ".".join(map(str, key)))
def test_a_key_is_found_on_its_line(key: Key) -> None:
    assert locate(TEXT).get(key) == LOCATED[key]


def test_nothing_else_is_taken_for_a_key() -> None:
    assert set(locate(TEXT).values()) <= set(LOCATED.values())
    assert locate("# key = 1\n\n]\n") == {}


@pytest.mark.parametrize(
    ("key", "line"), [(("store", "url"), 3), (("store", "nowhere", "at", "all"), 2), (("nowhere",), 0), ((), 0)]
)
def test_a_key_that_is_not_there_is_looked_for_at_its_nearest_ancestor(key: Key, line: int) -> None:
    assert nearest(locate(TEXT), key) == line


# --- the command and the documentation -------------------------------------------------------------


async def test_check_prints_every_route_and_no_problem(house: House) -> None:
    ran = await house.cli("check")
    assert ran.code == 0, ran.err
    assert "No problems. 13 routes to 5 recipients." in ran.out
    listed = (await house.cli("check", "--json")).json["routes"]
    assert {route["operation"] for route in listed} == {
        "credit_report", "score", "debt_burden", "contributions", "contract_upload", "handover", "recall",
        "portfolio_preview", "assignment",
    }  # fmt: skip
    assert all(route[key] in ran.out for route in listed for key in ("operation", "caller", "purpose", "ground"))


async def test_check_of_a_broken_configuration_exits_2_and_names_file_and_line(house: House) -> None:
    house.edit(COLLECTOR, ("borrower_notified", "borrower_amused"))
    house.edit(BUREAU, ("env:QAQPA_FCB_PASSWORD", "hunter2"))
    ran = await house.cli("check")
    assert ran.code == 2
    assert "2 problems in the configuration" in ran.err
    for file, needle in ((COLLECTOR, "guards = ["), (BUREAU, "password")):
        assert f"{file}:{line_of((house.config / file).read_text(), needle, 1)}: " in ran.err
    assert "hunter2" not in ran.err + ran.out


def documented(model: type[BaseModel]) -> Iterator[str]:
    """The keys of `model` and of every model that they hold."""
    for name, info in model.model_fields.items():
        yield info.alias or name
        waiting = [info.annotation]
        while waiting:
            part = waiting.pop()
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from documented(part)
            waiting += typing.get_args(part)


@pytest.mark.parametrize("file", base.File.__subclasses__(), ids=lambda file: file.__name__)
def test_every_key_is_documented(file: type[base.File]) -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    assert sorted({key for key in documented(file) if f"`{key}`" not in text}) == []
