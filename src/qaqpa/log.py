"""Structured logs that cannot carry personal data: an allow-list of keys, everything else withheld by name.

A log line is for operators; what happened to whose data is the ledger's to say. So the redactor lets through keys
known to be harmless and no others; of those it still withholds a value that looks like one of the vocabulary. Names of
the vocabulary itself are never let through, whoever adds them to the list. What libraries log comes the same way,
without their sentences, which may hold anything.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO, cast

import structlog

# Keys whose values come from our own code or config, never from a caller's data or a third party's answer.
SAFE_KEYS = frozenset(
    {
        "adapter", "attempt", "breaker", "caller", "code", "count", "disclosure", "duration_ms", "event",
        "exit_code", "failed", "field_names", "file", "handover", "host", "index", "intent", "issuer", "level",
        "logger", "operation", "outcome", "path", "policy", "port", "recall", "recipient", "refusal", "result",
        "retry_in_s", "size", "stage",
        "timestamp", "error_type", "witness",
    }
)  # fmt: skip
CODE = "code"
"""A code of ours in a log line, and a field of the vocabulary: let through only in the form of ours."""

WITHHELD = "[withheld]"
LIBRARY = "a library's message"
HARMLESS = frozenset(
    {
        "Unclosed client session", "Unclosed connection", "Unclosed connector", "Task was destroyed but it is pending!",
        "Shutting down granian", "Worker exited unexpectedly", "Task exception was never retrieved",
        "Worker crash loop detected, exiting",
    }
)  # fmt: skip
"""Sentences of libraries that hold nothing but themselves; compared whole, before anything is filled in."""
_OF_A_WORKER = re.compile(
    r"Unexpected exit from worker-\d{1,3}|Killing (?:old )?worker-\d{1,3} after it refused to gracefully stop"
)
"""The same of granian about its processes; it fills in their numbers before it logs."""
LEVEL = "QAQPA_LOG"
"""The variable of the environment that says from which level on a service logs."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_OUR_CODE = re.compile(r"[a-z]+(_[a-z]+)*")
_OUR_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PERSONAL = re.compile(
    r"(?:\d[ ()-]{0,2}){10}"  # an IIN, a BIN, a phone, an account, however they are grouped
    r"|\S@\S"  # an e-mail
    r"|[Kk][Zz] ?\d\d ?(?:[0-9A-Za-z] ?){16}"  # an IBAN
)
_LARGEST_NUMBER = 10**8
"""A larger one may be an IIN or a phone that somebody made a number of."""
_OF_OURS = frozenset({"timestamp", "level"})
"""Put there by the processors below."""
_never: set[str] = set()


def never(names: Iterable[str]) -> None:
    """Keys that are withheld whatever SAFE_KEYS says; the vocabulary gives its own names."""
    _never.update(names)
    _never.discard(CODE)


def _let_through(key: str, value: Any) -> Any:
    if key in _OF_OURS or value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if key == CODE:
            return value if _OUR_CODE.fullmatch(value) else WITHHELD
        return WITHHELD if _PERSONAL.search(value) and not _OUR_ID.fullmatch(value) else value
    if isinstance(value, int | float):
        return value if key != CODE and -_LARGEST_NUMBER < value < _LARGEST_NUMBER else WITHHELD
    if isinstance(value, list | tuple | set | frozenset):
        return [_let_through(key, each) for each in value]
    return WITHHELD


def withhold_unknown(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every key outside `SAFE_KEYS`, of every key of the vocabulary, and every value that looks
    like one of a person's; exceptions shrink to their type.
    """
    exc_info = event.pop("exc_info", None)
    if exc_info:
        error = sys.exc_info()[1] if exc_info is True else exc_info
        event["error_type"] = type(error[1] if isinstance(error, tuple) else error).__name__
    return {
        key: _let_through(key, value) if key in SAFE_KEYS and key not in _never else WITHHELD
        for key, value in event.items()
    }


def _is_harmless(record: logging.LogRecord) -> bool:
    return record.msg in HARMLESS or (record.name == "_granian" and _OF_A_WORKER.fullmatch(record.msg) is not None)


class _Libraries(logging.Handler):
    """What libraries log, as lines of ours: who, how grave, which exception. Never raises, never says more."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.msg if isinstance(record.msg, str) and _is_harmless(record) else LIBRARY
            more = {"logger": record.name}
            if record.exc_info and record.exc_info[0] is not None:
                more["error_type"] = record.exc_info[0].__name__
            logger = get("library")
            if record.levelno >= logging.ERROR:
                logger.error(event, **more)
            elif record.levelno >= logging.WARNING:
                logger.warning(event, **more)
            else:
                logger.info(event, **more)
        except Exception:  # noqa: BLE001, S110 - the handler of last resort would print the record itself
            pass


_libraries = _Libraries()


def configure(*, level: int = logging.WARNING, stream: TextIO | None = None) -> None:
    """Send JSON lines to `stream` (stderr by default), those of libraries too; silence what logs whole URLs."""
    for noisy in ("httpx", "httpcore", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger().addHandler(_libraries)  # the same one again changes nothing
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            withhold_unknown,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # A line is one write: printed, its end is another, and lines of several processes run into each other.
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `name` says which room of the house speaks. Unless configured otherwise, it withholds too."""
    if not structlog.is_configured():
        configure()
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(stage=name))
