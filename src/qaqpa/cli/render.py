"""How things look in a terminal. Colours and tables for people, JSON for programs; nothing is decided here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qaqpa.errors import Blocked, ConfigError, InvalidRequest, NotPossible, QaqpaError
from qaqpa.gateway.answers import error_answer
from qaqpa.model.decision import Decision, GuardResult, Result
from qaqpa.model.words import Language

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MARK = {Result.PERMIT: "[green]✓[/]", Result.DENY: "[red]✗[/]", Result.GAP: "[yellow]?[/]"}
WORD = {Result.PERMIT: "[green]permit[/]", Result.DENY: "[red]deny[/]", Result.GAP: "[yellow]gap[/]"}


@dataclass
class Speech:
    """In which language guards speak: the configuration's, once it is read."""

    language: Language = "en"


speech = Speech()


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's style."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=number == 0)  # names in the first column stay whole
    return made


def guard_line(guard: GuardResult) -> str:
    """✓ name (clause, law): what it says."""
    law = f", {guard.instrument}" if guard.instrument else ""
    says = escape(guard.message.in_language(speech.language))
    return f"  {MARK[guard.result]} [bold]{guard.guard}[/] [dim]({guard.clause}{law})[/] {says}"


def decision(decided: Decision) -> None:
    """A decision with every guard."""
    asked = decided.asked
    names = f"{asked.caller} → {asked.recipient}: {asked.operation} for {asked.purpose}"
    out.print(f"{WORD[decided.result]}  {escape(names)}")
    if decided.ground is not None:
        out.print(
            f"  ground {decided.ground.value}, clauses {', '.join(decided.clauses)}, policy {decided.policy or 'none'}"
        )
    for guard in decided.guards:
        out.print(guard_line(guard))


def failure(error: QaqpaError, *, as_json: bool) -> None:
    """An error on standard error for people, on standard output as JSON for programs."""
    if as_json:
        print_json(error_answer(error, speech.language))
        return
    if isinstance(error, Blocked):
        err.print(f"{WORD[error.decision.result]}: nothing left. Refusal {error.refusal}")
        for reason in error.decision.reasons:
            err.print(guard_line(reason))
    elif isinstance(error, ConfigError):
        count = len(error.problems)
        err.print(f"[red]{count} problem{'s' if count != 1 else ''} in the configuration[/]")
        for problem in error.problems:
            err.print(f"  {escape(str(problem))}", soft_wrap=True)
    elif isinstance(error, NotPossible):
        err.print(f"[red]not possible[/]: {escape('; '.join(error.problems))}", soft_wrap=True)
    elif isinstance(error, InvalidRequest):
        err.print("[red]The request is not of the right form[/]; nothing was decided and nothing left.")
        for wrong in error.problems:
            err.print(f"  {escape(wrong)}", soft_wrap=True)
    else:
        where = f" [dim](disclosure {error.disclosure})[/]" if error.disclosure else ""
        err.print(f"[red]{error.code}[/]: {escape(str(error))}{where}", soft_wrap=True)
