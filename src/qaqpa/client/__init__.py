"""What an internal service imports to ask the gate: `/v1` over HTTP, typed, with retries that never disclose twice.

async with Client("https://gate.internal:8480", token=TOKEN, ca="/etc/ssl/internal.pem") as gate:
    found = await gate.disclose(
        recipient="first-credit-bureau", operation="credit_report", purpose="application_review",
        data={"identity": {"iin": iin}},
    )
    found.report["outstanding"]

Whole registers: `taken = await gate.hand_over("debtors.csv", recipient=..., operation=..., purpose=...)`, then
`await gate.handover(taken.handover)` until its `state` says sent, and `handover_rows` for those that stayed behind.

Every method raises `GateError` or a kind of it; besides, ValueError for what cannot be asked at all, and whatever the
token_source raises (while a later answer is waited for, Awaiting with that as its cause):

    GateError                  code, status, reasons, problems, disclosure, idempotency_key
    ├── Blocked                nothing left; reasons say why
    │   ├── Denied             a guard says no: asking again changes nothing
    │   └── Gap                something is missing that the caller can supply; `missing` of the reasons names it
    ├── Awaiting               no failure: the recipient answers later, and did not yet; ask with `disclosure(...)`
    ├── Refused                the request is wrong, the caller may not, what it names does not exist
    │   ├── NotAuthenticated   the token
    │   └── NotAllowed         the role
    ├── ThirdPartyFailed
    │   ├── NotSent            surely nothing left
    │   ├── Rejected           they received it and answered no; `their_code`
    │   └── Unsettled          it left, or may have; a person settles it (`qaqpa ledger open`)
    └── Unavailable            the gate does not answer, or its ledger cannot be used. Ask again with the error's
                               `idempotency_key`: what was disclosed meanwhile is answered and not sent again

It imports nothing of the gate itself: the package `qaqpa` may be installed at a caller without a configuration.
"""

from qaqpa.client.answers import (
    Consent,
    Decision,
    Disclosed,
    Handover,
    HandoverRow,
    HandoverRows,
    Places,
    Progress,
    Reason,
    RowReason,
)
from qaqpa.client.asking import Client, Patience, TokenSource
from qaqpa.client.failures import (
    Awaiting,
    Blocked,
    Denied,
    Gap,
    GateError,
    NotAllowed,
    NotAuthenticated,
    NotSent,
    Refused,
    Rejected,
    ThirdPartyFailed,
    Unavailable,
    Unsettled,
)

__all__ = [
    "Awaiting",
    "Blocked",
    "Client",
    "Consent",
    "Decision",
    "Denied",
    "Disclosed",
    "Gap",
    "GateError",
    "Handover",
    "HandoverRow",
    "HandoverRows",
    "NotAllowed",
    "NotAuthenticated",
    "NotSent",
    "Patience",
    "Places",
    "Progress",
    "Reason",
    "Refused",
    "Rejected",
    "RowReason",
    "ThirdPartyFailed",
    "TokenSource",
    "Unavailable",
    "Unsettled",
]
