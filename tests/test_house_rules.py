"""Rules of the house that no type can hold: who makes what, how long things are, which promises have tests."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import entry_points

import httpx
import pytest

from harness import ROOT
from qaqpa import errors
from qaqpa.adapter import GROUP
from qaqpa.errors import QaqpaError
from qaqpa.gateway.compliance import Compliance
from qaqpa.gateway.flow import Flow
from qaqpa.gateway.recalls import Recaller
from qaqpa.ledger import erasure, recovery
from qaqpa.recall.recalls import Recalls

SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]
ALL_CODE = [*SOURCES, *(ROOT / "tests").rglob("*.py")]


def tree_of_errors(root: type[QaqpaError] = QaqpaError) -> Iterator[type[QaqpaError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree_of_errors(child)


def calls_of(name: str) -> set[str]:
    """Files in which `name(...)` is called."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                target = node.func
                called = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
                if called == name:
                    found.add(path.relative_to(ROOT).as_posix())
    return found


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    ("made", "only_in"),
    [
        ("Intent", {"src/qaqpa/ledger/ledger.py", "src/qaqpa/ledger/handovers.py"}),
        ("Sealed", {"src/qaqpa/seal/seal.py"}),
        ("Package", {"src/qaqpa/seal/package.py"}),
        ("Extract", {"src/qaqpa/minimise.py"}),
        ("Decision", {"src/qaqpa/policy/decide.py"}),
        ("Agreed", {"src/qaqpa/gateway/approvals.py"}),
        (
            "Https",
            {
                "src/qaqpa/gateway/setup.py",
                "src/qaqpa/gateway/packages.py",
                "src/qaqpa/gateway/alerting.py",
                "src/qaqpa/gateway/addresses.py",
            },
        ),
        (
            "PackageIntent",
            {
                "src/qaqpa/ledger/handovers.py",
                "src/qaqpa/ledger/recalls.py",
                "src/qaqpa/handover/flow.py",
                "src/qaqpa/recall/flow.py",
            },
        ),
    ],
)
def test_what_the_flow_carries_is_made_in_one_place(made: str, only_in: set[str]) -> None:
    # The contract suite ships extracts for adapters to be tested with; it is never part of a flow.
    assert {path for path in calls_of(made) if not path.startswith("src/qaqpa/testing/")} == only_in


@pytest.mark.promise(1)
def test_only_the_flow_asks_transport_to_send() -> None:
    text = (ROOT / "src/qaqpa/gateway/flow.py").read_text()
    assert text.count("self.transport.send(") == 1
    assert text.index("self.ledger.intend(") < text.index("self.transport.send(")
    assert text.index("self.ledger.intend(") < text.index("self.dialogues.begin(")
    others = [
        path.name
        for path in SOURCES
        if "transport.send(" in path.read_text() and path.name != "flow.py" and "testing" not in path.parts
    ]
    # Dialogues go on with an intent that the flow made; what they send is made from it, and from no extract.
    # Documents for bureaus go the same way, once their package is intended.
    assert sorted(others) == ["batches.py", "dialogue.py"]
    batches = (ROOT / "src/qaqpa/handover/batches.py").read_text()
    sent = [line.strip() for line in batches.splitlines() if "transport.send(" in line]
    assert sent == ["return await self.transport.send(seal(intent, bureau.key, idempotent=idempotent))"]
    dialogue = (ROOT / "src/qaqpa/gateway/dialogue.py").read_text()
    sent = [line.strip() for line in dialogue.splitlines() if "transport.send(" in line]
    assert sent == [
        "reply = await self.transport.send(seal(intent, speaker.key, idempotent=False))",
        "reply = await self.transport.send(sealed)",
    ]
    assert "sealed = seal(resumed.intent.following(message), speaker.key, idempotent=True)" in dialogue


def test_what_takes_two_persons_takes_what_two_agreed_on() -> None:
    acts = (
        erasure.erase, recovery.settle, Recalls.start_handover,
        Compliance.erase, Compliance.settle, Recaller.start_handover,
    )  # fmt: skip
    for act in acts:
        parameter = inspect.signature(act).parameters["agreed"]
        assert (parameter.annotation, parameter.default) == ("Agreed", inspect.Parameter.empty), act
    # Nothing else does what they do, and each uses up what was agreed on in its own transaction.
    for done, where in {
        "entries.erasure(": "ledger/erasure.py",
        "INSERT INTO erasures": "ledger/erasure.py",
        "DELETE FROM subject_keys": "ledger/erasure.py",
        "            SETTLE, recipient": "ledger/recovery.py",
        "recall_entry(\n            recall.id": "recall/recalls.py",
    }.items():
        found = {path for path in SOURCES if done in path.read_text()}
        assert found == {ROOT / "src/qaqpa" / where}, done
        assert (ROOT / "src/qaqpa" / where).read_text().count("agreed.use_up(connection)") == 1
    # One person may ask back what is about one person; the configuration may let a proposal go.
    recalls = (ROOT / "src/qaqpa/recall/recalls.py").read_text()
    assert recalls.count("_require_one(found.scope)") == 2
    assert [line.strip() for line in recalls.splitlines() if "self._let_go(" in line] == [
        "return await self._let_go(found, asking)",
        "await self._let_go(recall, Asking(caller=None, person=None))",
    ]


def test_the_flow_is_one_function_of_under_60_lines() -> None:
    lines, _ = inspect.getsourcelines(Flow.disclose)
    assert len(lines) < 60


def test_no_file_is_over_400_lines_without_a_reason_at_its_top() -> None:
    long = {
        path.relative_to(ROOT).as_posix()
        for path in ALL_CODE
        if len(path.read_text().splitlines()) > 400 and "# long:" not in path.read_text()[:400]
    }
    assert long == set()


def test_every_error_has_a_code_of_its_own_a_status_and_an_exit_code() -> None:
    tree = list(tree_of_errors())
    codes = [error.code for error in tree]
    assert len(codes) == len(set(codes))
    for error in tree:
        assert re.fullmatch(r"[a-z_]+", error.code)
        if error is errors.AnswerAwaited:
            assert (error.status, error.exit_code) == (202, 0)
            continue
        assert 400 <= error.status <= 599
        assert 1 <= error.exit_code <= 6
        assert error.__doc__


def test_the_tree_drawn_in_errors_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for error in tree_of_errors():
        assert re.search(rf"\b{error.__name__}\b", drawn), f"{error.__name__} is not drawn"
        if not error.__subclasses__():
            assert re.search(rf"\b{error.__name__}\s+{error.code}\b", drawn), f"{error.code} is not drawn"


def test_every_adapter_in_the_tree_is_registered_and_named_by_a_shipped_recipient() -> None:
    folders = {path.parent.name for path in (ROOT / "adapters/qaqpa_adapters").glob("*/wire.py")}
    assert folders == {point.name for point in entry_points(group=GROUP)}
    shipped = "".join(path.read_text() for path in (ROOT / "config/recipients").glob("*.toml"))
    assert all(f'adapter = "{name}"' in shipped for name in folders)


def test_every_promise_that_this_version_makes_has_a_test_that_names_it() -> None:
    made = {
        int(number) for number in re.findall(r"^(\d)\. \*\*", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
    }
    named = {int(number) for path in ALL_CODE for number in re.findall(r"mark\.promise\((\d)\)", path.read_text())}
    assert made == {1, 2, 3, 4, 5, 6, 7}
    assert made <= named


def test_nothing_is_left_open_in_the_code() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    assert [path.name for path in SOURCES if marks.search(path.read_text())] == []


def test_the_product_does_not_speak_of_its_making() -> None:
    words = re.compile(rf"\bissue #?\d|{re.escape(str(ROOT))}/", re.IGNORECASE)
    files = [*ALL_CODE, *(ROOT / "docs").rglob("*.md"), *(ROOT / "config").rglob("*.toml"), ROOT / "README.md"]
    assert [path.name for path in files if words.search(path.read_text())] == []


def test_httpx_is_imported_by_transport_alone_and_by_what_callers_import() -> None:
    importers = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"^(import|from) (httpx|httpx_aiohttp)\b", path.read_text(), re.MULTILINE)
    }
    assert importers == {"qaqpa/transport/https.py", "qaqpa/client/asking.py", "qaqpa/client/reading.py"}
    assert httpx.__version__
