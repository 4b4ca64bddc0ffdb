"""Where the service listens: an address of this machine that nobody else serves. Looked at before anything starts."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from qaqpa import files
from qaqpa.config.models import ConsoleConfig
from qaqpa.errors import NotConfigured

_WHY = {
    errno.EADDRINUSE: "something listens there already (`ss -ltnp` says what); end it, or give another port",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "ports below 1024 are for root; give another port, or let a proxy listen there",
}
SERVED = "served-at.txt"
"""In the home folder: where the service was last started, which `--listen` may say otherwise than the configuration."""


def note_served(home: Path, url: str) -> None:
    """For commands that tell people where to go."""
    files.replace(home / SERVED, f"{url}\n".encode())


def console_url(home: Path, console: ConsoleConfig) -> str:
    """Where browsers find the console: as the configuration says, else where the service was last started."""
    if "url" not in console.model_fields_set:
        with suppress(OSError, ValueError):
            return (home / SERVED).read_text("ascii").strip()
    return console.url


def address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8480`, `[::1]:8480` or `localhost:8480`. Raises NotConfigured."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ip_address(host)
        good = port.isascii() and port.isdecimal() and 0 < int(port) < 65_536
    except ValueError:
        good = False
    if not good:
        raise NotConfigured(
            f"service.listen is HOST:PORT with an IP address, for example 127.0.0.1:8480, and not {text}"
        )
    return host, int(port)


def require_free(host: str, port: int) -> None:
    """Raises NotConfigured where nobody could be served there.

    The server shares its port among workers (SO_REUSEPORT), so that a second one would start beside the first
    unnoticed, and each get half of the requests; a socket that does not share notices.
    """
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended are nobody
        try:
            probe.bind((host, port))
        except OSError as error:
            why = _WHY.get(error.errno or 0, error.strerror)
            raise NotConfigured(f"{host}:{port} cannot be listened on: {why}") from None
