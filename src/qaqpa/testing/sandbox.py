"""The base of every sandbox: a faithful stand-in of one third party, with state, a call log and fault knobs.

It is a real TLS server over real sockets, so that what is tested against it is what runs against the third party. It
never sends anything anywhere, prints nothing, and must never be given a real person's data: its call log holds
the IIN of every call in the clear, and so belongs to synthetic people only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import os
import ssl
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from qaqpa.errors import UsageError
from qaqpa.model.identifiers import check_digit
from qaqpa.model.words import timestamp
from qaqpa.testing.certificates import CertificateAuthority
from qaqpa.testing.faults import (
    IN_HANDSHAKE,
    NOT_ACTED_UPON,
    SERVER_ERROR,
    Answer,
    Fault,
    abort_connection,
    deliver,
)

__all__ = [
    "NETWORKS",
    "REDIRECTED",
    "Answer",
    "Arrival",
    "Call",
    "CertificateAuthority",
    "Examination",
    "Fault",
    "Sandbox",
    "another_iin",
]

NETWORKS = "127.0.0.0/8,::1/128"
"""The addresses that a gateway must allow to reach a sandbox."""
REDIRECTED = "/redirected"
"""Where Fault.REDIRECT points."""
_STOP_WITHIN_S = 0.3
_LARGEST_REQUEST = 64 * 1024 * 1024
_MOST_KEPT = 1000
"""Answers kept for Fault.STALE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that reached the sandbox, written down before it is acted upon or answered."""

    at: str
    """RFC 3339."""
    path: str
    operation: str | None
    """The third party's own name of what was asked."""
    iin: str | None
    body_sha256: str
    accepted: bool
    """Credentials and format are right, and it is acted upon."""
    problem: str | None
    """Why it is not acted upon, short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A whole POST, so that a sandbox can examine it without I/O. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """Content-Type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a request turned out to be. `problem` is None when it is in order."""

    operation: str | None = None
    iin: str | None = None
    problem: str | None = None


Examined = TypeVar("Examined", bound=Examination)


def another_iin(iin: str) -> str:
    """Another valid IIN with the same date of birth and sex."""
    for step in range(1, 10_000):
        eleven = f"{iin[:7]}{(int(iin[7:11]) + step) % 10_000:04d}"
        digit = check_digit(eleven)
        if digit is not None:
            return f"{eleven}{digit}"
    raise ValueError("no other IIN begins with these digits")


class Sandbox(ABC, Generic[Examined]):
    """One third party on `https://localhost:PORT`; use it as `async with`, or `start()` and `stop()`.

    A sandbox that is started again keeps its port and its certificates. `PUT /_sandbox/fault` with
    `{"fault": name, "times": n or null}` and `GET /_sandbox/calls` do from another process what `fault`,
    `fail_next` and `calls` do from this one; they are not logged as calls. While the fault is a bad
    certificate they show it too: limit it by `times`, or control without verification.
    """

    paths: ClassVar[Collection[str]]
    """Where the third party takes POST; anything else is logged and answered with 404."""

    def __init__(
        self, *, port: int = 0, directory: Path | None = None, log: Path | None = None, delay: float = 0.5
    ) -> None:
        """Files are written to `directory` (a temporary one if None); `delay` in seconds is for Fault.SLOW.

        Raises UsageError when the extra `sandbox` is not installed.
        """
        self.calls: list[Call] = []
        self.connections = 0
        """TCP connections accepted, whatever became of their handshake; those of the control paths too."""
        self.delay = delay
        self._authority = CertificateAuthority()
        self._port, self._directory, self._log = port, directory, log
        self._fault = Fault.NONE
        self._upcoming: deque[Fault] = deque()
        self._stopping = asyncio.Event()
        self._open: contextlib.AsyncExitStack | None = None
        self._files: Path | None = None
        self._log_fd: int | None = None
        self._server: web.Server | None = None
        self._busy: set[web.RequestHandler] = set()
        self._first: dict[tuple[str, str | None], Answer] = {}

    @abstractmethod
    def examine(self, arrival: Arrival) -> Examined:
        """What the request is and whether it is in order; changes nothing, and never raises."""

    @abstractmethod
    def act(self, examination: Examined) -> None:
        """Do what was asked: count, bill, store. Called once, only when there is no problem, after the log."""

    @abstractmethod
    def answer(self, examination: Examined, *, about: str | None) -> Answer:
        """The answer, after `act`; `about` is the IIN asked about, or under Fault.WRONG_SUBJECT another one."""

    def knows(self, iin: str) -> bool:
        """Whether the third party would answer about this person."""
        return True

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables under which a gateway's configuration finds this sandbox."""

    # --- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        async with contextlib.AsyncExitStack() as stack:
            if self._directory is None:
                made = tempfile.TemporaryDirectory(prefix="qaqpa-sandbox-")
                self._files = Path(stack.enter_context(made))
            else:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._files = self._directory
            self.write_files(self._files)
            if self._log is not None:
                self._log_fd = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                stack.callback(os.close, self._log_fd)
            await self._listen(stack)
            self._open = stack.pop_all()

    async def stop(self) -> None:
        """Stop at once: requests that hang are cut off, connections are closed."""
        if self._open is not None:
            opened, self._open = self._open, None
            await opened.aclose()
            self._server = self._files = self._log_fd = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def write_files(self, directory: Path) -> None:
        """Write what clients need: the certificate to trust."""
        (directory / "ca.pem").write_bytes(self._authority.certificate)

    @property
    def url(self) -> str:
        """`https://localhost:PORT`."""
        return f"https://localhost:{self._port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust, PEM. Raises UsageError before start."""
        return self._file("ca.pem")

    def _file(self, name: str) -> Path:
        if self._files is None:
            raise UsageError("the sandbox is not running: start it first")
        return self._files / name

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        app = web.Application(middlewares=[self._note_busy])
        app.router.add_put("/_sandbox/fault", self._set_fault)
        app.router.add_get("/_sandbox/calls", self._show_calls)
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_WITHIN_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        self._server = runner.server
        self._stopping.clear()
        # The callback runs in every handshake, also in one without a server name (a client that dials 127.0.0.1).
        context = self._authority.context()
        context.sni_callback = self._choose_certificate
        listener = await asyncio.get_running_loop().create_server(
            self._accept, "127.0.0.1", self._port, ssl=context, ssl_shutdown_timeout=_STOP_WITHIN_S
        )
        self._port = listener.sockets[0].getsockname()[1]
        stack.callback(self._cut_off)
        stack.callback(listener.close)

    def _accept(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if self._server is None:
            raise UsageError("the sandbox is not running: start it first")
        return self._server()

    def _cut_off(self) -> None:
        self._stopping.set()
        for connection in self._server.connections if self._server is not None else []:
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()

    # --- faults ------------------------------------------------------------------------------------

    @property
    def fault(self) -> Fault:
        """What goes wrong with every call, apart from the next few that `fail_next` chose."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._upcoming.clear()
        self._fault = fault
        self._drop_idle_connections(fault)

    def fail_next(self, fault: Fault, times: int = 1) -> None:
        """Let the next `times` calls go wrong; a bad certificate counts handshakes instead of calls."""
        self._upcoming.extend([fault] * times)
        self._drop_idle_connections(fault)

    def _drop_idle_connections(self, fault: Fault) -> None:
        # A client's pooled connection has its handshake behind it and would never see the bad certificate.
        if fault in IN_HANDSHAKE and self._server is not None:
            for connection in self._server.connections:
                if connection in self._busy:
                    connection.close()  # after its answer
                else:
                    connection.force_close()

    def _take_fault(self, *, in_handshake: bool) -> Fault:
        fault = self._upcoming[0] if self._upcoming else self._fault
        if (fault in IN_HANDSHAKE) is not in_handshake:
            return Fault.NONE
        return self._upcoming.popleft() if self._upcoming else fault

    def _choose_certificate(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._authority.context(self._take_fault(in_handshake=True))

    @web.middleware
    async def _note_busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)

    # --- requests ----------------------------------------------------------------------------------

    async def _set_fault(self, request: web.Request) -> web.Response:
        try:
            wanted = orjson.loads(await request.read())
            fault, times = Fault(wanted["fault"]), wanted.get("times")
            if times is None:
                self.fault = fault
            else:
                self.fail_next(fault, int(times))
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.json_response({"faults": [fault.value for fault in Fault]}, status=400)
        return web.Response(status=204)

    async def _show_calls(self, _request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.calls), content_type="application/json")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body, whole = await _read(request)
        if not whole or request.method != "POST" or request.path not in self.paths:
            return self._turn_away(request, body, whole=whole)
        # From here to act() nothing awaits: a call is in the log the moment it is here, whoever dies next.
        fault = self._take_fault(in_handshake=False)
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = self.examine(Arrival(path=request.path, headers=headers, body=body))
        problem = found.problem
        if problem is None and fault in NOT_ACTED_UPON:
            problem = f"fault: {fault}"
        self._write_down(request.path, found, body, problem)
        if problem is None:
            self.act(found)
        match fault:
            case Fault.HANG_BEFORE_ACCEPTING | Fault.HANG_AFTER_ACCEPTING:
                return await self._hang(request)
            case Fault.SERVER_ERROR:
                return SERVER_ERROR.response()
            case Fault.REDIRECT:
                return web.Response(status=307, headers={"Location": f"{self.url}{REDIRECTED}"})
            case Fault.SLOW:
                await self._wait(self.delay)
        about = found.iin
        if fault is Fault.WRONG_SUBJECT and problem is None and about is not None:
            about = another_iin(about)
        true = self.answer(found, about=about)
        if problem is None and len(self._first) < _MOST_KEPT:
            first = self._first.setdefault((request.path, about), true)
            true = first if fault is Fault.STALE else true
        return await deliver(request, fault, true)

    def _turn_away(self, request: web.Request, body: bytes, *, whole: bool) -> web.Response:
        if not whole:
            problem = "the request broke off"
        else:
            problem = "a redirect was followed" if request.path == REDIRECTED else "no such address"
        self._write_down(request.path, Examination(), body, problem)
        return web.Response(status=404 if whole else 400, text=problem)

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        while not self._stopping.is_set() and request.transport is not None:
            await self._wait(0.1)
        abort_connection(request)
        return web.Response()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _write_down(self, path: str, found: Examination, body: bytes, problem: str | None) -> None:
        call = Call(
            at=timestamp(dt.datetime.now(dt.UTC)),
            path=path,
            operation=found.operation,
            iin=found.iin,
            body_sha256=hashlib.sha256(body).hexdigest(),
            accepted=problem is None,
            problem=problem,
        )
        if self._log_fd is not None:
            # One write to an O_APPEND file: whole or not at all, whoever else appends. With the very bytes, so that
            # they can be held against the digest in a gateway's ledger.
            line = {**asdict(call), "body": base64.b64encode(body).decode()}
            os.write(self._log_fd, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.calls.append(call)


async def _read(request: web.Request) -> tuple[bytes, bool]:
    """The body, and whether it is whole: a client may die half-way, and what came of it is logged too."""
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > _LARGEST_REQUEST:
                return bytes(body), False
    except (web.RequestPayloadError, OSError, asyncio.IncompleteReadError):
        return bytes(body), False
    return bytes(body), True
