"""A plain JSON form of one claim, of a recall, and of receipts: for recipients that publish no format of their own.

`Claims` is what their adapters share. Pure: it opens nothing, and writes no field that it is not told to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from qaqpa.adapter import Operation, operation
from qaqpa.errors import (
    AnswerUnreadable,
    CredentialsRefused,
    InvalidRequest,
    Rejected,
    RequestRefused,
    RightsRefused,
)
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa.model.vocabulary import Text

CONTENT_TYPE = "application/json"
DEBTOR_FIELDS = (
    "identity.iin",
    "identity.last_name",
    "identity.first_name",
    "identity.middle_name",
    "identity.birth_date",
    "contact.mobile",
    "contact.home_phone",
    "contact.registered_address",
    "contact.residence_address",
)
"""Who owes and how to reach them: with these every claim begins."""
_RECEIPT = "report.receipt"

_GROUP_NAMES = {"identity": "debtor", "contact": "contact", "contract": "contract"}
_ACCEPTED = frozenset({200, 202})
_THEIR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFUSALS: dict[int, type[Rejected]] = {401: CredentialsRefused, 403: RightsRefused}


def claim(name: str, *, needs: Iterable[str], uses: Iterable[str]) -> Operation:
    """One claim in, one receipt out, alone or as a row of a package."""
    # Idempotent: the recipient drops a message whose Idempotency-Key it has seen.
    return operation(name, endpoint=name, needs=needs, uses=uses, returns=(_RECEIPT,), idempotent=True, package=True)


def recall(name: str) -> Operation:
    """To stop and destroy what was disclosed, of one contract or as a package of ids; idempotent like a claim."""
    return operation(
        name, endpoint=name, needs=("contract.number",), returns=(_RECEIPT,), idempotent=True, package=True,
        recalls=True,
    )  # fmt: skip


class Claims:
    """The part of an adapter that is the same for every recipient of this form."""

    name: ClassVar[str]
    operations: ClassVar[Mapping[str, Operation]]
    fields: ClassVar[tuple[str, ...]]
    """Of a claim, in the order in which they stand in the message."""
    recipient: ClassVar[str]
    """In words."""

    _head: Mapping[str, str]
    """What each message begins with."""

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        """A claim, or what is recalled, as JSON. Raises InvalidRequest without a field needed, or for what goes in
        packages only.
        """
        declared = self._declared(operation)
        if declared.package_only:
            raise InvalidRequest([f"operation: {operation} goes in a handover only, never for one person"])
        missing = sorted(path for path in declared.needs if extract.get(path) is None)
        if missing:
            raise InvalidRequest([f"{path}: {self.recipient} needs it" for path in missing])
        if declared.recalls:
            body = write_recall(extract, exchange, self._head)
        else:
            body = write(extract, self.fields, self._head)
        return Message(body, CONTENT_TYPE, declared.endpoint)

    def decode(self, operation: str, reply: Reply, _exchange: Exchange) -> Report:
        """The receipt, which does not say what it is for. Raises Rejected (or a kind of it) or AnswerUnreadable."""
        self._declared(operation)
        return read(reply)

    def _declared(self, name: str) -> Operation:
        found = self.operations.get(name)
        if found is None:
            raise InvalidRequest([f"operation: {self.name} offers {', '.join(sorted(self.operations))} only"])
        return found


class _Receipt(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    receipt: Text
    iin: Text | None = None


def write(extract: Extract, fields: Iterable[str], head: Mapping[str, str]) -> bytes:
    """The claim as JSON, `head` first, then `fields` in their order. Absent ones are left out."""
    groups: dict[str, dict[str, Any]] = {}
    for path in fields:
        value = extract.get(path)
        if value is not None:
            group, _, name = path.partition(".")
            groups.setdefault(_GROUP_NAMES[group], {})[name] = value
    return orjson.dumps({**head, **groups})


def write_recall(extract: Extract, exchange: Exchange, head: Mapping[str, str]) -> bytes:
    """The notice to stop and destroy. Raises InvalidRequest where nothing is said to be recalled."""
    recall = exchange.recall
    if recall is None:
        raise InvalidRequest(["operation: a recall says what is recalled, why and until when; use `qaqpa recall`"])
    said = {"of": recall.of, "reason": recall.reason.value, "due_on": recall.due_on.isoformat()}
    return orjson.dumps({**head, "recall": {**said, "contract": extract.get("contract.number")}})


def read(reply: Reply) -> Report:
    """The receipt in `reply`. Raises Rejected (or a kind of it) or AnswerUnreadable."""
    if reply.status in _ACCEPTED:
        try:
            answer = _Receipt.model_validate(orjson.loads(reply.body))
        except (ValidationError, ValueError):
            raise AnswerUnreadable("the answer holds no receipt; ask the recipient if it has the file") from None
        return Report(data={"receipt": answer.receipt}, about=answer.iin, reference=answer.receipt)
    if 300 <= reply.status < 500:
        refusal = _REFUSALS.get(reply.status, RequestRefused)
        raise refusal("the recipient refused the file", their_code=_their_code(reply))
    raise AnswerUnreadable(f"the recipient answered with HTTP {reply.status}; ask it if it has the file")


def _their_code(reply: Reply) -> str:
    """The recipient's code, else the HTTP status; never its free text, which may repeat the debtor's data."""
    try:
        code = orjson.loads(reply.body)["error"]
    except (ValueError, KeyError, TypeError, IndexError):
        code = None
    # A long run of digits may be an IIN, a phone or a contract's number.
    if isinstance(code, str) and _THEIR_CODE.fullmatch(code) and not re.search(r"\d{5}", code):
        return code
    return str(reply.status)
