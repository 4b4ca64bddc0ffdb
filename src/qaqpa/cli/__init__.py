"""The command line: for people by default, for programs with --json.

Exit codes: 0 done, 1 refused (deny), 2 usage, 3 gap, 4 third party failed, 5 ledger or store failed,
6 verification failed, 70 a defect of ours.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from qaqpa import log, memory
from qaqpa.cli.commands import Commands
from qaqpa.errors import QaqpaError

app = typer.Typer(
    name="qaqpa",
    cls=Commands,
    help="The one gate through which personal data leaves for third parties: checked against consent and the "
    "policy, cut to what the clause allows, encrypted, and entered in a ledger before a byte leaves.",
    epilog="Exit codes: 0 done, 1 refused, 2 usage, 3 gap (something is missing), 4 third party failed, "
    "5 ledger or store failed, 6 verification failed, 70 a defect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBOSE = "--verbose"


@app.callback()
def _of_every_command(
    verbose: Annotated[
        bool,
        typer.Option(
            VERBOSE, help="Log on standard error: JSON lines without personal data. May stand behind the command too."
        ),
    ] = False,
) -> None:
    if verbose:
        log.configure(level=logging.INFO)


INTERRUPTED = 130
INTERNAL = 70
"""Exit code of a defect (EX_SOFTWARE): never to be taken for a refusal."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    memory.settle()
    log.configure(level=logging.ERROR)
    logging.captureWarnings(True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows its code instead
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    try:
        first = [each for each in arguments if each == VERBOSE][:1]
        others = [each for each in arguments if each != VERBOSE]
        typer.main.get_command(app).main([*first, *others], prog_name="qaqpa")
        sys.stdout.flush()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # typer ends so when whoever read our output has stopped
            return _broken_pipe()
        if stop.code == INTERRUPTED:
            print("interrupted; what was being sent was finished and entered first", file=sys.stderr)  # noqa: T201
        return _flushed(stop.code if isinstance(stop.code, int) else INTERNAL if stop.code else 0)
    except QaqpaError as error:
        from qaqpa.cli.render import failure  # noqa: PLC0415 - most commands fail seldom

        failure(error, as_json="--json" in arguments)
        return error.exit_code
    except BrokenPipeError:
        return _broken_pipe()
    except Exception as error:  # noqa: BLE001 - what an unforeseen exception says may hold a person's data
        return _defect(error, as_json="--json" in arguments)
    return 0


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as error:
        return _defect(error)
    return code


def _broken_pipe() -> int:
    """Whoever read our output has stopped (`| head`); the interpreter must not complain about it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _defect(error: Exception, *, as_json: bool = False) -> int:
    """Say where, never what: places in the code hold no data, messages may."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    if as_json:
        from qaqpa.cli.render import print_json  # noqa: PLC0415 - as above

        print_json({"code": "defect", "status": 500, "detail": f"{type(error).__name__} at {where}"})
    print(f"a defect of Qaqpa, or of what it runs on: {type(error).__name__} at {where}", file=sys.stderr)  # noqa: T201
    print("What was done before stands in the ledger: `qaqpa ledger show`.", file=sys.stderr)  # noqa: T201
    return INTERNAL
