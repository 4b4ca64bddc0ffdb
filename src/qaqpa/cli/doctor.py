"""`qaqpa doctor`: what is wrong with this installation, and what to do next. It changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import typer
from rich.markup import escape

from qaqpa.cli.findings import (
    Finding,
    State,
    keyring,
    of_draft,
    of_files,
    of_home,
    of_recipients,
    of_service,
    ok,
    wrong,
)
from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, Json
from qaqpa.cli.render import out, print_json
from qaqpa.errors import ConfigError, NotConfigured, QaqpaError
from qaqpa.gateway import Setup, load_setup
from qaqpa.gateway.gateway import utc_now

MARKS = {State.OK: "[green]✓[/]", State.LOOK: "[yellow]![/]", State.WRONG: "[red]✗[/]"}
_NOT_WELL = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """Look at everything this installation needs, and say what is wrong and what to do. Changes nothing.

    ✓ is well, ! wants somebody's attention, ✗ does not work or is not safe; with a ✗ the exit code is 2.
    """
    findings = list(examine(config, home, os.environ, utc_now()))
    well = all(each.state is not State.WRONG for each in findings)
    if as_json:
        found = [{"state": each.state.value, "about": each.about, "message": each.message} for each in findings]
        print_json({"well": well, "findings": found})
    else:
        for each in findings:
            out.print(f"{MARKS[each.state]} [bold]{escape(each.about)}[/]: {escape(each.message)}", soft_wrap=True)
    if not well:
        raise typer.Exit(_NOT_WELL)


def examine(config: Path, home: Path, environ: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    """Every finding, in an order in which they are best mended."""
    made, problems = _configuration(config, home, environ)
    yield from problems
    yield from of_home(home)
    if made is None:
        return
    yield from of_draft(made)
    ready = home.is_dir()
    for what, value in _needed(made).items():
        try:
            made.resolve(value, what)
        except NotConfigured as error:
            ready = False
            yield wrong(what, str(error).removeprefix(f"{what}: "))
    if ready:
        from qaqpa.cli.ledger_findings import of_database  # noqa: PLC0415 - takes a while to load

        yield from of_files(made)
        opened, finding = keyring(made)
        yield finding
        yield from of_database(made, opened, now)
        if opened is not None:
            opened.close()
    yield from of_service(made, now)
    yield from of_recipients(made, now)


def _configuration(config: Path, home: Path, environ: Mapping[str, str]) -> tuple[Setup | None, list[Finding]]:
    about = "configuration"
    if not config.is_dir():
        return None, [wrong(about, f"there is no folder {config}: run where config/ lies, or give --config")]
    try:
        made = load_setup(config, home=home, environ=environ)
    except ConfigError as error:
        return None, [wrong(about, str(problem)) for problem in error.problems]
    except QaqpaError as error:
        return None, [wrong(about, str(error))]
    return made, [ok(about, f"{len(made.policy.routes)} routes to {len(made.policy.recipients)} recipients")]


def _needed(made: Setup) -> dict[str, str]:
    """References without which no gateway opens."""
    gateway = made.config.gateway
    found = {"store.url": gateway.store.url, "keys.keyring": gateway.keys.keyring,
             "ledger.checkpoint": gateway.ledger.checkpoint}  # fmt: skip
    if gateway.keys.passphrase is not None:
        found["keys.passphrase"] = gateway.keys.passphrase
    if gateway.keys.pkcs11 is not None:
        found |= {"keys.pkcs11.module": gateway.keys.pkcs11.module, "keys.pkcs11.pin": gateway.keys.pkcs11.pin}
    if gateway.alerts.webhook is not None:
        found |= {f"alerts.webhook.secrets ({n})": each for n, each in enumerate(gateway.alerts.webhook.secrets, 1)}
    return found
