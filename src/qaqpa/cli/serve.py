"""`qaqpa serve`: the online service."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import ssl
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qaqpa import log, metrics
from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, make_private, setup
from qaqpa.cli.render import err, out
from qaqpa.cli.trial import prepare
from qaqpa.demo import stands
from qaqpa.errors import NotConfigured
from qaqpa.gateway import Setup
from qaqpa.keys import Keyring
from qaqpa.service.listening import address, note_served, require_free

_CONNECTIONS = 1_024
"""Waiting to be accepted."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    context: typer.Context,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT, in place of service.listen in gateway.toml.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes, in place of service.workers.")] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Beside stand-ins of the third parties, with tokens to try it.")
    ] = False,
) -> None:
    """Serve /v1 to internal callers until interrupted; a stop finishes what is under way."""
    make_private(home)
    level = "info" if context.find_root().params["verbose"] else os.environ.get(log.LEVEL, "info")
    if level not in log.LEVELS:
        raise NotConfigured(f"{log.LEVEL} says from which level on the service logs: one of {', '.join(log.LEVELS)}")
    log.configure(level=log.LEVELS[level])
    with ExitStack() as stack:
        if sandbox:
            host, port = address(listen or setup(config, home).config.gateway.service.listen)
            require_free(host, port)  # before stand-ins run and tokens are made
            os.environ.update(stack.enter_context(stands(config, home)).environment)
            prepare(config, home, f"http://{host}:{port}")
        _serve(config, home, listen, workers, level)


def _serve(config: Path, home: Path, listen: str | None, workers: int | None, level: str) -> None:
    # Here, because no other command needs a web server, and each waits for what it imports.
    from granian import Granian  # noqa: PLC0415
    from granian.constants import HTTPModes, Interfaces, Loops  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415

    from qaqpa.service import worker  # noqa: PLC0415

    made = setup(config, home)
    service = made.config.gateway.service
    host, port = address(listen or service.listen)
    require_free(host, port)
    certificate, key = certificates(made)
    client_ca = _path(made, service.client_ca, "service.client_ca")
    require_pair(certificate, key, client_ca)
    if certificate is None and host not in {"127.0.0.1", "::1"}:
        err.print("[yellow]plain HTTP on an address that others can reach[/]: give service.certificate", soft_wrap=True)
    Keyring.load(made.keyring_path, made.unlock).close()  # what is wrong with it is said here, once, and not by workers
    os.environ[worker.CONFIG], os.environ[worker.HOME] = str(config.resolve()), str(home.resolve())
    os.environ[log.LEVEL] = level
    count = workers or service.workers
    _allow_connections()
    with tempfile.TemporaryDirectory(prefix="qaqpa-metrics-") as folder:
        if count > 1:
            os.environ[metrics.MULTIPROCESS] = folder
            # Workers begin anew: forked, each would count for itself alone, as this process began to.
            multiprocessing.set_start_method("spawn", force=True)
        url = f"{'https' if certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
        note_served(made.home, url)
        out.print(f"[green]serving[/] {url}/v1 (Ctrl-C ends it)")
        Granian(
            "qaqpa.service.worker:app",
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,  # while it waits to be told which of two, a silent connection has no limit of time
            factory=True,
            workers=count,
            loop=Loops.uvloop,
            backlog=_CONNECTIONS,
            log_access=False,
            log_level="warning",  # type: ignore[arg-type]
            log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},  # to ours (qaqpa.log)
            ssl_cert=certificate,
            ssl_key=key,
            ssl_ca=client_ca,
            ssl_client_verify=service.client_ca is not None,
            http1_settings=HTTP1Settings(header_read_timeout=math.ceil(service.request_timeout_s * 1000)),
            workers_kill_timeout=math.ceil(service.shutdown_timeout_s),
            respawn_failed_workers=True,
            websockets=False,
        ).serve()


def _allow_connections() -> None:
    """Each connection is an open file, and the usual limit of 1,024 is soft."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def certificates(made: Setup) -> tuple[Path | None, Path | None]:
    """Files of the service's certificate and key, None for plain HTTP. Raises NotConfigured."""
    service = made.config.gateway.service
    if (service.certificate is None) != (service.key is None):
        raise NotConfigured("service.certificate and service.key go together")
    if service.client_ca is not None and service.certificate is None:
        raise NotConfigured("service.client_ca needs service.certificate: without TLS nobody shows a certificate")
    certificate = _path(made, service.certificate, "service.certificate")
    return certificate, _path(made, service.key, "service.key")


def require_pair(certificate: Path | None, key: Path | None, client_ca: Path | None) -> None:
    """Said here, with the name of what is wrong: a worker would only end. Raises NotConfigured."""
    if certificate is None or key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError):  # SSLError is an OSError
        raise NotConfigured(
            f"service.certificate and service.key: {certificate} and {key} cannot be read, are not of one pair, or "
            "the key is encrypted"
        ) from None
    try:
        if client_ca is not None:
            context.load_verify_locations(client_ca)
    except (OSError, ValueError):
        raise NotConfigured(f"service.client_ca: there is no certificate in PEM in {client_ca}") from None


def _path(made: Setup, value: str | None, what: str) -> Path | None:
    if value is None:
        return None
    path = made.home / made.resolve(value, what)
    if not path.is_file():
        raise NotConfigured(f"{what}: there is no file {path}")
    return path
