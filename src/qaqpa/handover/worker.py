"""The process that assembles one large register (see `hands`), spoken to by pipes.

Each message is its length and a pickle: first the brief, then a call at a time, each answered in its turn. When the
pipe ends it ends, and takes an unfinished package with it.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import struct
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from qaqpa import adapter as adapters
from qaqpa import memory
from qaqpa.config import Config, Source
from qaqpa.errors import DecisionOutdated, InvalidRequest, QaqpaError
from qaqpa.handover.assembler import Assembler
from qaqpa.handover.judge import Judge
from qaqpa.handover.orders import Order
from qaqpa.handover.package import PackageBuilder
from qaqpa.handover.spool import open_spool
from qaqpa.model.handover import HandoverIntent
from qaqpa.policy import compile_policy
from qaqpa.seal import load_key, package_key
from qaqpa.tables import Kind, Layout, Register, read

_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""
HEAD = struct.Struct(">Q")
"""Of a message: how many bytes follow."""


class Failure(NamedTuple):
    """An error, as it goes back: of ours by name, of another only what kind it is, since it may hold data."""

    kind: str
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Brief:
    """What a worker is told of its register. It passes through a pipe and stands nowhere else."""

    config: Config
    order: Order
    intent: HandoverIntent
    since: datetime
    """When it was taken in; it dates the members of the package."""
    now: datetime
    today: date
    checks_facts: bool
    headings: Mapping[str, str]
    register: Path
    key: bytes = field(repr=False)
    pseudonyms: bytes = field(repr=False)
    package: Path
    seal_key: str
    """The file of the recipient's public key."""


def register_of(order: Order, headings: Mapping[str, str], today: date, file: BinaryIO) -> Register:
    """The rows of what was handed in. Raises RegisterRefused."""
    layout = Layout(today=today, synonyms=dict(headings))
    return read(file, layout, kind=None if order.format is None else Kind(order.format), encoding=order.encoding)


def main() -> None:
    """Serve one gateway until it lets go."""
    memory.settle()
    _end_with_the_gateway()
    into, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    brief = _heard(into)
    if not isinstance(brief, Brief):
        return
    try:
        _serve(brief, into, out)
    except Exception as error:  # noqa: BLE001 - nobody sees what it would print: whoever asks hears of it
        _refuse_all(into, out, _failure(error))


def _end_with_the_gateway() -> None:
    """However long a register takes to read, nobody waits for it any more when the gateway was killed (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve(brief: Brief, into: BinaryIO, out: BinaryIO) -> None:
    config, order = brief.config, brief.order
    recipient = config.recipients[order.recipient]
    found, _ = adapters.find(each.adapter for each in config.recipients.values())
    policy = compile_policy(config, found, Source(Path()))
    route = policy.find(order.asked)
    if route is None or recipient.packages is None:
        raise DecisionOutdated("the configuration has no route for this handover any more")
    key = package_key(load_key(recipient.packages.seal, brief.seal_key, brief.now))
    judge = Judge(
        policy, route, order.asked, now=brief.now, suspended=False, pseudonyms=brief.pseudonyms,
        checks_facts=brief.checks_facts,
    )  # fmt: skip
    with (
        closing(open_spool(brief.register, brief.key)) as file,
        PackageBuilder(brief.intent, key, brief.package, recipient.packages, route.fields, brief.since) as builder,
    ):
        register = register_of(order, brief.headings, brief.today, file)
        assembler = Assembler(route, file, register, judge, builder)
        while (asked := _heard(into)) is not None:
            method, told = asked
            try:
                said: object = getattr(assembler, method)(*told)
            except QaqpaError as error:
                said = _failure(error)
            except Exception as error:  # noqa: BLE001 - whoever asked must hear of it
                said = Failure(type(error).__name__)
            _say(out, said)


def _refuse_all(into: BinaryIO, out: BinaryIO, failure: Failure) -> None:
    while _heard(into) is not None:
        _say(out, failure)


def _failure(error: Exception) -> Failure:
    if isinstance(error, InvalidRequest):
        return Failure(type(error).__name__, tuple(error.problems))
    return Failure(type(error).__name__, (str(error),) if isinstance(error, QaqpaError) else ())


def _heard(into: BinaryIO) -> Any:
    """The next message; None when the gateway let go, or was killed."""
    head = into.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (size,) = HEAD.unpack(head)
    frame = into.read(size)
    return pickle.loads(frame) if len(frame) == size else None  # noqa: S301 - of the gateway that began this process


def _say(out: BinaryIO, said: object) -> None:
    frame = pickle.dumps(said, protocol=5)
    try:
        out.write(HEAD.pack(len(frame)))
        out.write(frame)
        out.flush()
    except BrokenPipeError:  # it was killed; the next message is none
        return
