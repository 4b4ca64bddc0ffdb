"""The command line: for people by default, for programs with --json.

Exit codes: 0 done, 1 refused (deny), 2 usage, 3 gap, 4 third party failed, 5 ledger or store failed,
6 verification failed.
"""

from __future__ import annotations

import logging
import sys

import typer

from qaqpa import log
from qaqpa.cli import check, consent, demo, disclose, keys, ledger, migrate, recipient, sandbox
from qaqpa.cli.render import failure
from qaqpa.errors import QaqpaError

app = typer.Typer(
    name="qaqpa",
    help="The one gate through which personal data leaves for third parties: checked against consent and the "
    "policy, cut to what the clause allows, encrypted, and entered in a ledger before a byte leaves.",
    epilog="Exit codes: 0 done, 1 refused, 2 usage, 3 gap (something is missing), 4 third party failed, "
    "5 ledger or store failed, 6 verification failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (demo, check, disclose, migrate, sandbox):
    module.register(app)
app.add_typer(consent.app, name="consent")
app.add_typer(ledger.app, name="ledger")
app.add_typer(recipient.app, name="recipient")
app.add_typer(keys.app, name="keys")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    log.configure(level=logging.INFO if "--verbose" in arguments else logging.ERROR)
    try:
        typer.main.get_command(app).main([each for each in arguments if each != "--verbose"], prog_name="qaqpa")
    except QaqpaError as error:
        failure(error, as_json="--json" in arguments)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
