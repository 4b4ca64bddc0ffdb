"""`qaqpa console`: how people come into the web console."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, Reason, opened, run
from qaqpa.cli.render import err, print_json
from qaqpa.config.models import ConsoleRole

app = typer.Typer(help="Let people into the web console of `qaqpa serve`.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The web console."""


@app.command()
def login(
    person: Annotated[str, typer.Option(help="Who signs in: entered with everything that is done.")],
    role: Annotated[list[ConsoleRole], typer.Option(help="What the person may do; may be given several times.")],
    caller: Caller,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Make a link that signs a person in once, within ten minutes; making it is an entry."""
    from qaqpa.console.sessions import make_link  # noqa: PLC0415
    from qaqpa.service.listening import console_url  # noqa: PLC0415

    async def work() -> tuple[str, datetime, str]:
        async with opened(config, home) as gateway:
            secret, expires = await make_link(gateway, role, caller=caller, person=person, reason=reason)
            return secret, expires, console_url(gateway.setup.home, gateway.setup.config.gateway.console)

    secret, expires, url = run(work)
    address = f"{url}/console/signin/link/{secret}"
    if as_json:
        print_json({"url": address, "expires": expires.isoformat()})
        return
    roles = ", ".join(sorted(each.value for each in set(role)))
    err.print(
        f"[green]made[/] a link for {person} ({roles}); it serves once, until {expires:%H:%M} UTC:", soft_wrap=True
    )
    print(address)  # noqa: T201 - alone on standard output, so that a script can take it
