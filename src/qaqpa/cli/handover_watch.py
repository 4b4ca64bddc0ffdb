"""Watching a handover from a terminal: how far it is, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from qaqpa.cli.handover_check import alike_lines, print_reasons
from qaqpa.cli.render import err, out, speech
from qaqpa.errors import BY_CODE, NotPossible, VerificationFailed
from qaqpa.gateway import Gateway
from qaqpa.gateway.handover_answers import Pace, Tally, handover_answer, pace, reason_lines
from qaqpa.handover.handovers import Standing
from qaqpa.model.handover import FINAL, HandoverState, RowResult

_LOOK_EVERY_S = 0.1
_LOOK_AT_LEAST_S = 0.5
"""Looking counts every row anew, so it is done less and less often."""
_SAY_EVERY_S = 10.0
"""A plain line, where nothing else is to be said."""
_TRIED_WITHIN_S = 15.0
"""So long one that failed before is given to be tried once more."""
PATIENCE = 3
"""Failures in a row after which a terminal is given back; a gateway that runs goes on."""
COLOURS = {
    HandoverState.SENT: "green", HandoverState.ACKNOWLEDGED: "green", HandoverState.REJECTED: "red",
    HandoverState.UNKNOWN: "red", HandoverState.CANCELLED: "yellow",
}  # fmt: skip
_WHY = {
    "strict": "with --strict one row that may not go holds up all",
    "nothing_permitted": "no row may go",
    "too_few_alike": "too few rows look alike, so that they would tell whom they are about",
    "consent_ended": "a consent that a row rests on was withdrawn, or is over",
    "agreement_ended": "no agreement with the recipient is in force any more",
    "law_changed": "the policy or a condition of law changed before it left: hand it in again",
    "changed_meanwhile": "the configuration changed while it was decided: hand it in again",
    "register_refused": "the register cannot be read",
    "not_possible": "its rows cannot be written in the recipient's layout",
    "cancelled": "somebody cancelled it",
}
"""By code. None of them is the recipient's failure."""


class Watch:
    """Tells how far it is: a bar on a terminal, plain lines elsewhere. It writes on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"),
            console=err, transient=True, disable=quiet or not err.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None, figures="")
        self._said: tuple[HandoverState, str] | None = None
        self._said_at = 0.0

    def __enter__(self) -> Watch:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, standing: Standing, now: Pace) -> None:
        """Where it stands."""
        state, waits = standing.handover.state, standing.handover.figures.get("waits")
        figures = _figures(state, now)
        trouble = f" ({waits['code']}, tried {waits['failed']} times)" if waits else ""
        self._bar.update(
            self._task, description=state.value + trouble, completed=now.bytes, total=now.of_bytes or None,
            figures=figures,
        )  # fmt: skip
        if self._quiet or err.is_terminal:
            return
        if self._said != (state, trouble) or time.monotonic() - self._said_at > _SAY_EVERY_S:
            err.print(f"{state.value}{trouble} {figures}".rstrip(), soft_wrap=True)
            self._said, self._said_at = (state, trouble), time.monotonic()


def _figures(state: HandoverState, now: Pace) -> str:
    parts = []
    if state is HandoverState.DECIDING:
        parts.append(f"{now.rows:,} rows")
        if now.rows_per_s:
            parts.append(f"{now.rows_per_s:,.0f} rows/s")
    if state in {HandoverState.DECIDING, HandoverState.SENDING}:
        parts.append(f"{size(now.bytes)} of {size(now.of_bytes)}")
        if now.bytes_per_s:
            parts.append(f"{size(now.bytes_per_s)}/s")
        if now.eta_s is not None:
            parts.append(f"{now.eta_s:,.0f} s left")
    if state is HandoverState.PACKAGED:
        parts.append("waits for the recipient's window and its turn")
    return ", ".join(parts)


def size(count: float) -> str:
    """Bytes for people."""
    if count < 1_000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1_000
        if count < 1_000:
            return f"{count:,.1f} {unit}"
    return f"{count / 1_000:,.1f} GB"


async def watched(
    gateway: Gateway, caller: str, handover: str, *, receipt: bool, quiet: bool, most_s: float
) -> Standing:
    """Let it go on, in this process where no other does, until it is sent (or acknowledged), ended or stuck."""
    began, rest, first = time.monotonic(), _LOOK_EVERY_S, None
    gateway.jobs.wake()
    over = FINAL | {HandoverState.UNKNOWN} | (set() if receipt else {HandoverState.SENT})
    try:
        with Watch(quiet=quiet) as watch:
            while True:
                standing = await gateway.handovers.find(caller, handover, again=first is not None)
                first = first or standing
                watch.tell(standing, pace(standing, gateway.ledger.clock()))
                waited = time.monotonic() - began
                if standing.handover.state in over or _is_stuck(standing, first, waited) or waited > most_s:
                    return standing
                await asyncio.sleep(rest)
                rest = min(rest * 1.1, _LOOK_AT_LEAST_S)
    except asyncio.CancelledError:
        err.print(
            f"nothing is lost: `qaqpa handover wait {handover}` goes on, or any gateway that runs", soft_wrap=True
        )
        raise


def _is_stuck(standing: Standing, first: Standing, waited: float) -> bool:
    """Whether it failed again and again; what it failed at before anybody waited may have been mended meanwhile."""
    waits = standing.handover.figures.get("waits")
    is_new = waits != first.handover.figures.get("waits") or waited > _TRIED_WITHIN_S
    return waits is not None and waits["failed"] >= PATIENCE and is_new


def exit_code(standing: Standing) -> int:
    """0 sent, 1 it may not go (or one row held up all), 2 it is to be handed in anew, 4 the recipient failed."""
    handover = standing.handover
    waits = handover.figures.get("waits")
    match handover.state:
        case HandoverState.SENT | HandoverState.ACKNOWLEDGED:
            return 0
        case HandoverState.REJECTED | HandoverState.UNKNOWN:
            return 4
        case HandoverState.CANCELLED:
            return _exit_code_of(str(handover.figures.get("code")))
        case _:
            return 0 if waits is None else _exit_code_of(waits["code"])


def _exit_code_of(code: str) -> int:
    """Of why it stands where it stands: an error's own, else whether that was decided here or came of the recipient."""
    if (known := BY_CODE.get(code)) is not None:
        return known.exit_code
    return 2 if code == "changed_meanwhile" else 1 if code in _WHY else 4


def cancelled_exit_code(standing: Standing) -> int:
    """0 cancelled; 2 too late, 4 nobody knows, or not yet."""
    match standing.handover.state:
        case HandoverState.CANCELLED:
            return 0
        case HandoverState.SENDING | HandoverState.UNKNOWN:
            return 4
        case _:
            return NotPossible.exit_code


def answer(gateway: Gateway, standing: Standing) -> dict[str, Any]:
    """For programs."""
    return handover_answer(standing, gateway.handovers.package_name(standing.handover), gateway.ledger.clock())


async def tallied(gateway: Gateway, caller: str, handover: str) -> Tally:
    """Why rows stayed behind or came back, counted."""
    tally, guards = Tally(speech.language), gateway.setup.config.guards
    async for page in gateway.handovers.every_finding(caller, handover):
        for finding in page:
            tally.add(finding, reason_lines(finding, guards, speech.language))
    return tally


def print_standing(gateway: Gateway, standing: Standing, tally: Tally) -> None:
    """Everything about one handover, for people, with what to do next."""
    handover, figures = standing.handover, standing.handover.figures
    order, state = handover.order, handover.state
    out.print(
        f"[{COLOURS.get(state, 'bold')}]{state.value}[/]  {handover.id}  {order.caller} → {order.recipient}: "
        f"{order.operation} for {order.purpose}",
        soft_wrap=True,
    )
    if (code := figures.get("code")) not in {None, "ok"}:
        out.print(f"  because: {escape(_WHY.get(str(code), str(code)))}", soft_wrap=True)
    for problem in figures.get("problems", ()):
        out.print(f"  {escape(str(problem))}", soft_wrap=True)
    if held_up_by := figures.get("held_up_by"):
        out.print(f"  held up by {held_up_by:,} rows; nothing of any row was entered")
    if figures.get("cancel") and state is HandoverState.SENDING:
        out.print("  [yellow]to be cancelled[/] once the recipient's machine says that it does not have the package")
    if (waits := figures.get("waits")) and state not in FINAL:
        out.print(f"  [yellow]waits[/]: {waits['code']}, failed {waits['failed']} times in a row", soft_wrap=True)
    if (made := figures.get("package")) is not None:
        name = gateway.handovers.package_name(handover)
        what = "document" if name is None else f"package {name}"
        out.print(f"  {what}: {figures['rows']:,} rows, {made['bytes']:,} bytes", soft_wrap=True)
        if name is not None:
            out.print(f"  sha256 {made['sha256']}", soft_wrap=True)
    if (batch := figures.get("batch")) is not None:
        out.print(f"  the recipient calls it batch {escape(str(batch))}", soft_wrap=True)
    for document in order.documents:
        out.print(f"  document {document.kind} ({document.type}, {document.bytes:,} bytes)")
    if (alike := figures.get("alike")) is not None:
        for line in alike_lines(alike):
            out.print(f"  {line}", soft_wrap=True)
    if (receipt := figures.get("receipt")) is not None:
        signed = "signed" if receipt["signed"] else "not signed"
        out.print(f"  receipt ({signed}): {receipt['result']}, {receipt['rejected']:,} rows rejected")
        if due := receipt.get("destruction_due"):
            out.print(f"  the recipient destroys the data by {due}")
        if lost := receipt.get("not_found"):
            out.print(f"  [yellow]{lost:,} of the rejections name no row[/] that is known here: ask the recipient")
    if figures.get("receipt_late") and state is HandoverState.SENT:
        out.print("  [yellow]the receipt is late[/]: ask the recipient")
    _print_behind(standing, tally)
    if order.follows is not None:
        out.print(f"  reports the change of creditor after the assignment {order.follows}", soft_wrap=True)
    for report in standing.reports:
        if report.is_told:
            told = f"{report.recipient} acknowledged {report.contracts:,} of {figures['rows']:,} contracts"
            out.print(f"  change of creditor: {told} ({report.upload})", soft_wrap=True)
    for line in [*_next(standing), *_reports_next(standing)]:
        out.print(f"  next: {line}", soft_wrap=True)


def _print_behind(standing: Standing, tally: Tally) -> None:
    behind = tally.held - tally.results[RowResult.REJECTED]
    if tally.held:
        rejected = tally.results[RowResult.REJECTED]
        more = f", {rejected:,} were rejected" if rejected else ""
        verb = "stays" if behind == 1 else "stay"
        out.print(f"  {behind:,} of {sum(standing.counts.values()):,} rows {verb} behind{more}:")
        print_reasons(tally)


def _reports_next(standing: Standing) -> Iterator[str]:
    """After an assignment: which bureaus are still to be told of the new creditor."""
    handover, over = standing.handover, {None, HandoverState.CANCELLED, HandoverState.REJECTED}
    for each in standing.reports:
        contracts = f"the change of creditor of {handover.figures['rows']:,} contracts"
        if each.state in over:
            yield (
                f"{contracts} is still to be reported to {each.recipient} (1.1(21), phase creditor_changed): `qaqpa "
                f"handover send FILE --to {each.recipient} --operation contract_upload --follows {handover.id}`"
            )
        elif not each.is_told:
            yield f"{contracts} is being reported to {each.recipient}: `qaqpa handover show {each.upload}`"


def _next(standing: Standing) -> list[str]:
    handover = standing.handover
    rows = f"`qaqpa handover rows {handover.id} --out rows.xlsx` lists the rows that stay behind"
    behind = sum(standing.counts.values()) - standing.counts[RowResult.PERMIT]
    told = [rows] if behind else []
    match handover.state:
        case HandoverState.SENT:
            return [*told, f"the recipient acknowledges it: `qaqpa handover wait {handover.id} --receipt`"]
        case HandoverState.ACKNOWLEDGED | HandoverState.REJECTED:
            if not (behind or handover.figures.get("receipt", {}).get("rejected")):
                return []
            return [f"`qaqpa handover rows {handover.id} --out rows.xlsx` lists the rows that did not arrive"]
        case HandoverState.UNKNOWN:
            return [
                f"it may have arrived, and is never sent again by itself: ask the recipient for {handover.id}",
                f"then `qaqpa ledger settle {handover.id} --result ...` (delivered, rejected or not_sent)",
            ]
        case HandoverState.CANCELLED if handover.figures.get("code") == "strict":
            return ["nothing of it was sent; `qaqpa handover check` with the same register lists the rows"]
        case HandoverState.CANCELLED if handover.figures.get("code") in {"cancelled", "consent_ended", "law_changed"}:
            return ["nothing of it was sent; hand the register in again where it is still wanted", *told]
        case HandoverState.CANCELLED:
            return ["nothing of it was sent; mend the register and hand it in again", *told]
        case _ if handover.figures.get("waits", {}).get("code") == VerificationFailed.code:
            return [
                "what is noted of its rows is not what the ledger has, so nothing of it goes on",
                "`qaqpa ledger verify` says more; keep the database as it is, tell whoever answers for security",
                f"`qaqpa handover cancel {handover.id}` ends it; nothing of it was sent",
            ]
        case _ if handover.figures.get("waits"):
            return [
                f"any gateway that runs (`qaqpa serve`) tries again, or `qaqpa handover wait {handover.id}`",
                f"`qaqpa handover cancel {handover.id}` while nothing was sent",
            ]
        case _:
            return [f"`qaqpa handover wait {handover.id}` lets it go on here, where no gateway runs"]
