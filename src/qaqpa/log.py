"""Structured logs that cannot carry personal data: an allow-list of keys, everything else withheld by name.

A log line is for operators; what happened to whose data is the ledger's to say. So the redactor here
does not look for values that seem personal: it lets through keys known to be harmless and no others.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

# Keys whose values come from our own code or config, never from a caller's data or a third party's answer.
SAFE_KEYS = frozenset(
    {
        "adapter", "attempt", "breaker", "caller", "code", "count", "disclosure", "duration_ms", "event",
        "exit_code", "field_names", "file", "host", "index", "intent", "kind", "level", "operation", "outcome",
        "policy", "port", "purpose", "recipient", "refusal", "result", "retry_in_s", "size", "stage",
        "status", "timestamp", "error_type", "witness",
    }
)  # fmt: skip

WITHHELD = "[withheld]"


def withhold_unknown(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every key outside `SAFE_KEYS`; exceptions shrink to their type."""
    exc_info = event.pop("exc_info", None)
    if exc_info:
        error = sys.exc_info()[1] if exc_info is True else exc_info
        event["error_type"] = type(error[1] if isinstance(error, tuple) else error).__name__
    return {key: value if key in SAFE_KEYS else WITHHELD for key, value in event.items()}


def configure(*, level: int = logging.WARNING, stream: TextIO | None = None) -> None:
    """Send JSON lines to `stream` (stderr by default) and silence libraries that log whole URLs."""
    for noisy in ("httpx", "httpcore", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            withhold_unknown,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `name` says which room of the house speaks. Unless configured otherwise, it withholds too."""
    if not structlog.is_configured():
        configure()
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(stage=name))
