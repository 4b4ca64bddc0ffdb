"""Logs: what is let through, what is withheld, what libraries may say."""

from __future__ import annotations

import ast
import io
import logging
import timeit
import warnings
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from harness import PEOPLE, ROOT
from qaqpa import log
from qaqpa.errors import BY_CODE
from qaqpa.model.identifiers import uuid7
from qaqpa.model.vocabulary import VOCABULARY

PERSON = PEOPLE[0].data
LEAVES = sorted({path.rpartition(".")[2] for path in VOCABULARY})


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    written = io.StringIO()
    log.configure(level=logging.DEBUG, stream=written)
    yield written
    log.configure()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_whatever_we_log_is_under_a_key_that_is_let_through() -> None:
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log."):
                assert {each.arg for each in node.keywords} <= log.SAFE_KEYS, f"{path}:{node.lineno}"


@pytest.mark.promise(2)
@pytest.mark.parametrize("key", sorted(log.SAFE_KEYS - {"level", "timestamp", "event"}))
@pytest.mark.parametrize(
    "value",
    [
        PERSON["identity"]["iin"], f"no {PERSON['identity']['iin']}, sorry", f"x{PERSON['identity']['iin']}y",
        int(PERSON["identity"]["iin"].lstrip("0") or 1), float(PERSON["identity"]["iin"]),
        "900101 300 123", "230340000017", PERSON["contact"]["email"], "write to someone@пошта.kz now",
        PERSON["contact"]["mobile"], "8 (701) 123-45-67", "+7 701 123 45 67", 77011234567, PERSON["bank"]["account"],
        "kz86 125k zt50 0410 0100", [PERSON["identity"]["iin"]], {"iin": PERSON["identity"]["iin"]},
        PERSON["identity"]["iin"].encode(), object(),
    ],
    ids=range(19),
)  # fmt: skip
def test_a_value_that_looks_like_a_persons_is_withheld(stream: io.StringIO, key: str, value: object) -> None:
    log.get("x").warning("said", **{key: value})
    (line,) = lines(stream)
    assert line[key] in (log.WITHHELD, [log.WITHHELD])
    assert line["event"] == "said"


@pytest.mark.promise(2)
def test_no_name_of_the_vocabulary_is_let_through_whoever_lists_it(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"iin", "last_name", "salary", "mobile", "kind", "status"} <= set(LEAVES)
    assert log.SAFE_KEYS & set(LEAVES) == {log.CODE}
    monkeypatch.setattr(log, "SAFE_KEYS", log.SAFE_KEYS | set(LEAVES))
    for leaf in LEAVES:
        log.get("x").warning("said", **{leaf: "Ерлан"})
    found = lines(stream)
    assert len(found) == len(LEAVES)
    assert all(line[leaf] == log.WITHHELD for line, leaf in zip(found, LEAVES, strict=True))


def test_what_is_ours_is_let_through(stream: io.StringIO) -> None:
    ours = {
        "disclosure": uuid7(), "intent": "00000000-0000-7000-8000-123456789012", "recipient": "first-credit-bureau",
        "attempt": 3, "duration_ms": 12.5, "host": "10.20.130.140", "file": "/var/lib/qaqpa/checkpoint.txt",
        "policy": "2025-01", "field_names": ["identity.iin", "contact.mobile"], "witness": "witness.example/ours",
        "refusal": None, "result": True,
    }  # fmt: skip
    log.get("x").warning("said", **ours)
    for code in BY_CODE:
        log.get("x").warning("said", code=code)
    first, *others = lines(stream)
    assert {key: first[key] for key in ours} == ours
    assert [line["code"] for line in others] == list(BY_CODE)
    assert log.WITHHELD not in stream.getvalue()


def test_an_unknown_key_is_withheld(stream: io.StringIO) -> None:
    log.get("x").warning("said", body="anything", code="T-1102")
    assert lines(stream)[0]["body"] == log.WITHHELD
    assert lines(stream)[0]["code"] == log.WITHHELD


@pytest.mark.promise(2)
def test_libraries_speak_as_json_without_their_sentences(stream: io.StringIO) -> None:
    iin = PERSON["identity"]["iin"]
    for name in ("aiohttp.client", "httpx", "_granian", "asyncio", "uvloop", "sqlalchemy.pool"):
        try:
            raise ValueError(iin)  # noqa: TRY301 - what a library raises
        except ValueError:
            logging.getLogger(name).exception("refused %s", iin)
    logging.getLogger("asyncio").error("Unclosed client session")
    logging.getLogger("asyncio").error("Unclosed client session %s", iin)
    logging.getLogger("asyncio").error(ValueError(iin))
    logging.getLogger(f"made.{iin}").warning("x")
    logging.getLogger("httpx").warning("GET https://bureau/%s", iin)
    assert iin not in stream.getvalue()
    found = lines(stream)
    assert [line["event"] for line in found] == [log.LIBRARY] * 6 + ["Unclosed client session"] + [log.LIBRARY] * 3
    assert all(line["error_type"] == "ValueError" for line in found[:6])
    assert found[0]["logger"] == "aiohttp.client"
    assert found[0]["level"] == "error"
    assert found[-1]["logger"] == log.WITHHELD


@pytest.mark.parametrize(
    ("name", "sentence", "told"),
    [
        ("_granian", "Unexpected exit from worker-1", True),
        ("_granian", "Killing worker-12 after it refused to gracefully stop", True),
        ("_granian", "Worker crash loop detected, exiting", True),
        ("_granian", f"Unexpected exit from worker-{PERSON['identity']['iin']}", False),
        ("_granian", "Unexpected exit from worker-1 of Ерлан", False),
        ("aiohttp", "Unexpected exit from worker-1", False),
    ],
)
def test_what_the_server_says_of_its_processes_is_told(
    stream: io.StringIO, name: str, sentence: str, told: bool
) -> None:
    logging.getLogger(name).error(sentence)
    assert [line["event"] for line in lines(stream)] == [sentence if told else log.LIBRARY]


def test_warnings_come_the_same_way(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # a command of another test may have left it on
        logging.captureWarnings(True)
        try:
            warnings.warn(f"no loop for {PERSON['identity']['iin']}", RuntimeWarning, stacklevel=1)
        finally:
            logging.captureWarnings(False)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == (log.LIBRARY, "py.warnings", "warning")


def test_configuring_twice_says_things_once(stream: io.StringIO) -> None:
    log.configure(stream=stream)
    logging.getLogger("asyncio").error("x")
    assert len(lines(stream)) == 1


class Raw(io.RawIOBase):
    """What the system is asked to write, as often as it is asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.asked.append(bytes(data))
        return len(data)


def test_a_line_is_one_write() -> None:
    raw = Raw()
    log.configure(stream=io.TextIOWrapper(raw, write_through=True))  # type: ignore[type-var]  # as PYTHONUNBUFFERED has it
    try:
        log.get("service").warning("one")
        log.get("service").warning("two")
    finally:
        log.configure()
    assert [orjson.loads(line)["event"] for line in raw.asked] == ["one", "two"], "lines of two processes would mix"
    assert all(line.endswith(b"\n") for line in raw.asked)


def test_it_costs_little() -> None:
    event = {"event": "disclosed", "disclosure": uuid7(), "recipient": "first-credit-bureau", "stage": "gateway",
             "level": "info", "timestamp": "2026-11-23T08:10:36.123456Z"}  # fmt: skip
    seconds = min(timeit.repeat(lambda: log.withhold_unknown(None, "info", dict(event)), number=1_000, repeat=5))
    assert seconds / 1_000 < 100e-6, seconds  # about 10 µs; one line is written for a disclosure
