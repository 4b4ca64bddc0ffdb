"""What Prometheus sees: counts and times, by names of the configuration. No value of a person can get into a label.

Times are in seconds. A label is a caller, recipient, operation, purpose, result, stage, rule or code: names that the
configuration or this program gives.
"""

from __future__ import annotations

import fcntl
import functools
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import ParamSpec, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from qaqpa import traces

Given = ParamSpec("Given")
Result = TypeVar("Result")

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
REGISTRY = CollectorRegistry()
_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ALIVE: list[int] = []
"""The descriptor that says so."""
_ALIVE_SUFFIX = ".alive"


def _let_see_that_it_lives(folder: str) -> None:
    """Held to the end and never closed: the kernel lets go of it however the process ends."""
    path = Path(folder, f"{os.getpid()}.beginning")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _ALIVE.append(descriptor)
    path.rename(path.with_suffix(_ALIVE_SUFFIX))  # whoever sees it so named sees it held


if MULTIPROCESS in os.environ:  # before the first gauge makes its file, which would outlive one killed in between
    _let_see_that_it_lives(os.environ[MULTIPROCESS])

_ROUTE = ("caller", "recipient", "operation", "purpose")

DECISIONS = Counter("qaqpa_decisions", "Decisions by route and result", (*_ROUTE, "result"), registry=REGISTRY)
DISCLOSURES = Counter("qaqpa_disclosures", "Disclosures by route and outcome", (*_ROUTE, "outcome"), registry=REGISTRY)
STAGES = Histogram("qaqpa_stage_seconds", "Time of a stage", ("stage",), buckets=_FAST, registry=REGISTRY)
COMMITS = Histogram("qaqpa_commit_seconds", "Time of a durable commit", buckets=_FAST, registry=REGISTRY)
GROUPS = Histogram(
    "qaqpa_commit_units", "Units that shared a commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=REGISTRY
)
QUEUED = Histogram("qaqpa_queue_seconds", "Wait for the writer", buckets=_FAST, registry=REGISTRY)
REQUESTS = Histogram(
    "qaqpa_request_seconds", "Requests by path and status", ("path", "status"), buckets=_FAST, registry=REGISTRY
)
REFUSED = Counter("qaqpa_refused_callers", "Requests of whom nobody knows, or who may not", ("why",), registry=REGISTRY)
BREAKER = Gauge(
    "qaqpa_breaker_open", "1 while a recipient is left alone", ("recipient",), registry=REGISTRY,
    multiprocess_mode="livemax",
)  # fmt: skip
OPEN_INTENTS = Gauge(
    "qaqpa_open_intents", "Disclosures without an outcome, by state", ("state",), registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)  # fmt: skip
CHECKPOINT_AGE = Gauge(
    "qaqpa_checkpoint_age_seconds", "Since the last checkpoint, while entries wait for one", registry=REGISTRY,
    multiprocess_mode="livemax",
)  # fmt: skip
ENTRIES = Gauge("qaqpa_ledger_entries", "Entries", registry=REGISTRY, multiprocess_mode="livemax")

JOBS = Gauge(
    "qaqpa_jobs_waiting", "Disclosures whose answer comes later and is not here yet", registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)  # fmt: skip
JOB_AGE = Gauge(
    "qaqpa_job_age_seconds", "Since the oldest of them was sent", registry=REGISTRY, multiprocess_mode="livemax"
)

HANDOVERS = Gauge(
    "qaqpa_handovers", "Handovers by state", ("state",), registry=REGISTRY, multiprocess_mode="livemostrecent"
)
HANDOVER_ROWS = Gauge(
    "qaqpa_handover_rows", "Rows of handovers that are not over, by state", ("state",), registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)  # fmt: skip
HANDOVER_AGE = Gauge(
    "qaqpa_handover_age_seconds", "Since the oldest register that has not left yet was taken in", registry=REGISTRY,
    multiprocess_mode="livemax",
)  # fmt: skip
HELD_UP = Gauge(
    "qaqpa_handovers_held_up", "Handovers that cannot go on as things stand, and are tried again", registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)  # fmt: skip
RECEIPTS_LATE = Gauge(
    "qaqpa_handover_receipts_late", "Packages whose receipt is late", registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)  # fmt: skip

RECALLS = Gauge("qaqpa_recalls", "Recalls by state", ("state",), registry=REGISTRY, multiprocess_mode="livemostrecent")

ALERTS = Gauge("qaqpa_alerts", "Open alerts by rule", ("rule",), registry=REGISTRY, multiprocess_mode="livemostrecent")
UNTOLD = Gauge(
    "qaqpa_alert_messages_waiting", "Messages of alerts that the webhook has not accepted", registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)  # fmt: skip


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a block as a stage."""
    started = perf_counter()
    try:
        with traces.span(name):
            yield
    finally:
        STAGES.labels(name).observe(perf_counter() - started)


def timed(name: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Time a function as a stage."""
    observe = STAGES.labels(name).observe

    def wrap(work: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(work)
        def run(*given: Given.args, **named: Given.kwargs) -> Result:
            started = perf_counter()
            try:
                with traces.span(name):
                    return work(*given, **named)
            finally:
                observe(perf_counter() - started)

        return run

    return wrap


def timed_async(name: str) -> Callable[[Callable[Given, Awaitable[Result]]], Callable[Given, Awaitable[Result]]]:
    """Time a coroutine function as a stage."""
    observe = STAGES.labels(name).observe

    def wrap(work: Callable[Given, Awaitable[Result]]) -> Callable[Given, Awaitable[Result]]:
        @functools.wraps(work)
        async def run(*given: Given.args, **named: Given.kwargs) -> Result:
            started = perf_counter()
            try:
                with traces.span(name):
                    return await work(*given, **named)
            finally:
                observe(perf_counter() - started)

        return run

    return wrap


def _forget_the_dead(folder: str) -> None:
    """Live gauges of worker processes that ended, however they did; what they counted goes on counting.

    Whether a process runs is not asked by its number, which another one may have by now.
    """
    for path in Path(folder).glob(f"*{_ALIVE_SUFFIX}"):
        pid = int(path.name.removesuffix(_ALIVE_SUFFIX))
        if pid == os.getpid():
            continue
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue  # it lives, or another process did this meanwhile


def exposition() -> bytes:
    """Everything as text; of all worker processes, where there are several."""
    registry = REGISTRY
    if folder := os.environ.get(MULTIPROCESS):
        _forget_the_dead(folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
