"""A register tried dry: who uploads it sees what would go and what would not, and why. Nothing of it is kept."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP

from starlette.responses import Response

from qaqpa.config.models import ConsoleRole
from qaqpa.console.overview import name_of
from qaqpa.console.page import Page
from qaqpa.console.telling import Teller
from qaqpa.console.visit import Visit, read_body
from qaqpa.errors import InvalidRequest
from qaqpa.gateway.handover_answers import RESULTS, Tally, reason_lines
from qaqpa.handover.deciding import Told
from qaqpa.handover.orders import Order
from qaqpa.model.handover import RowResult
from qaqpa.policy.matrix import in_order
from qaqpa.tables import Result, write_results

_INVESTIGATORS = (ConsoleRole.INVESTIGATOR,)
LARGEST = 16 * 1024 * 1024
"""Of an upload: a larger register is tried with `qaqpa handover check`, which reads it from its file."""
_SHOWN = 200
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(slots=True)
class Tried:
    """What would be decided of a register."""

    tally: Tally
    told: Told = field(default_factory=Told)
    rows: list[Result] = field(default_factory=list)
    """Every row, by its number alone: whom it is about the register says."""


async def ask(visit: Visit) -> Response:
    """Which register, to whom and for what."""
    return visit.page("trial.html", routes=_routes(visit), chosen="", tried=None)


def _routes(visit: Visit) -> dict[str, tuple[Order, str]]:
    """Routes by which whole registers go: what is ordered by each, and how it is called."""
    teller, found = Teller(visit), {}
    for asked, route in in_order(visit.gateway.policy):
        if (route.operation.package or route.operation.batch) and asked.recipient in visit.gateway.handovers.takers:
            order = Order(
                caller=asked.caller, recipient=asked.recipient, operation=asked.operation, purpose=asked.purpose
            )
            name = (
                f"{name_of(visit, 'caller', asked.caller)} → {name_of(visit, 'recipient', asked.recipient)}: "
                f"{teller.say.operation(asked.operation)}, {teller.purpose(asked.purpose)}"
            )
            found["/".join((asked.caller, asked.recipient, asked.operation, asked.purpose))] = (order, name)
    return found


async def run(visit: Visit) -> Response:
    """Decide every row of what is uploaded; enter that it was tried, and keep nothing of it."""
    register = visit.files.get("register", b"")
    chosen, routes = visit.posted("route"), _routes(visit)
    if chosen not in routes:
        raise InvalidRequest(["route: is one of those listed"])
    if not register:
        raise InvalidRequest(["register: choose a file"])
    tried = await _tried(visit, routes[chosen][0], register)
    if visit.form.get("as") == "xlsx":
        made = io.BytesIO()
        await visit.in_thread(lambda: write_results(made, tried.rows, language=visit.language))
        headers = {"content-disposition": 'attachment; filename="dry-run.xlsx"'}
        return Response(made.getvalue(), media_type=_XLSX, headers=headers)
    return visit.page(
        "trial.html", routes=routes, chosen=chosen, tried=tried, shown=_SHOWN, ROW_RESULTS=RESULTS, RowResult=RowResult
    )


async def _tried(visit: Visit, order: Order, register: bytes) -> Tried:
    guards, made = visit.gateway.setup.config.guards, Tried(Tally(visit.language))
    async for chunk, judged in visit.gateway.handovers.tried_for(visit.caller, order, io.BytesIO(register), made.told):
        found = {each.number: each for each in judged.findings}
        for row in chunk.rows:
            finding = found.get(row.number)
            result = RowResult.PERMIT if finding is None else finding.result
            lines = [] if finding is None else reason_lines(finding, guards, visit.language)
            if finding is None:
                made.tally.results[RowResult.PERMIT] += 1
            else:
                made.tally.add(finding, lines)
            made.rows.append(Result(row.number, "", RESULTS[result].in_language(visit.language), tuple(lines)))
    return made


async def read_upload(visit: Visit) -> None:
    """Fields and files of a form that uploads. Raises InvalidRequest, RequestTooLarge."""
    kind = visit.request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data;"):
        raise InvalidRequest(["Content-Type: must be multipart/form-data"])
    body = await read_body(visit.request, LARGEST)
    told = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    for part in told.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes) or name in {*visit.form, *visit.files}:
            raise InvalidRequest(["form: cannot be read"])
        if part.get_filename() is not None:
            visit.files[name] = content
        else:
            visit.form = {**visit.form, name: content.decode(errors="replace")[:2_000]}


PAGES = (
    Page("GET", "/handovers/trial", ask, _INVESTIGATORS),
    Page("POST", "/handovers/trial", run, _INVESTIGATORS, read_upload),
)
