"""The agency's JSON: from an extract to a message, from a reply to a report.

Pure: it opens nothing, and writes no field that is not in `FIELDS`.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from qaqpa.errors import (
    AnswerUnreadable,
    CredentialsRefused,
    Rejected,
    RequestRefused,
    RightsRefused,
)
from qaqpa.model.disclosure import Extract, Reply, Report
from qaqpa.model.vocabulary import Text

CONTENT_TYPE = "application/json"

NEEDED = (
    "identity.iin",
    "identity.last_name",
    "identity.first_name",
    "contract.number",
    "contract.total_due",
    "contract.days_overdue",
)
FIELDS = (
    "identity.iin",
    "identity.last_name",
    "identity.first_name",
    "identity.middle_name",
    "identity.birth_date",
    "contact.mobile",
    "contact.home_phone",
    "contact.registered_address",
    "contact.residence_address",
    "contract.number",
    "contract.signed_on",
    "contract.matures_on",
    "contract.amount",
    "contract.currency",
    "contract.principal",
    "contract.overdue_principal",
    "contract.interest",
    "contract.overdue_interest",
    "contract.penalty",
    "contract.expenses",
    "contract.total_due",
    "contract.days_overdue",
)
"""In the order in which they stand in the message."""

_GROUP_NAMES = {"identity": "debtor", "contact": "contact", "contract": "contract"}
_ACCEPTED = frozenset({200, 202})
_THEIR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFUSALS: dict[int, type[Rejected]] = {401: CredentialsRefused, 403: RightsRefused}


class _Receipt(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    receipt: Text
    iin: Text | None = None


def write(extract: Extract, *, agency_code: str) -> bytes:
    """The debtor as JSON. Absent fields are left out; the order of keys is always the same."""
    groups: dict[str, dict[str, Any]] = {}
    for path in FIELDS:
        value = extract.get(path)
        if value is not None:
            group, _, name = path.partition(".")
            groups.setdefault(_GROUP_NAMES[group], {})[name] = value
    return orjson.dumps({"agency_code": agency_code, **groups})


def read(reply: Reply) -> Report:
    """The receipt in `reply`. Raises Rejected (or a kind of it) or AnswerUnreadable."""
    if reply.status in _ACCEPTED:
        try:
            answer = _Receipt.model_validate(orjson.loads(reply.body))
        except (ValidationError, ValueError):
            raise AnswerUnreadable("the agency's answer holds no receipt; ask the agency if it has the file") from None
        return Report(data={"receipt": answer.receipt}, about=answer.iin, reference=answer.receipt)
    if 300 <= reply.status < 500:
        refusal = _REFUSALS.get(reply.status, RequestRefused)
        raise refusal("the agency refused the file", their_code=_their_code(reply))
    raise AnswerUnreadable(f"the agency answered with HTTP {reply.status}; ask it if it has the file")


def _their_code(reply: Reply) -> str:
    """The agency's code, else the HTTP status; never its free text, which may repeat the debtor's data."""
    try:
        code = orjson.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError, IndexError):
        code = None
    # A long run of digits may be an IIN, a phone or a contract's number.
    if isinstance(code, str) and _THEIR_CODE.fullmatch(code) and not re.search(r"\d{5}", code):
        return code
    return str(reply.status)
