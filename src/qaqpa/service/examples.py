"""A request of each kind, as OpenAPI shows them; the people in them are made up."""

from __future__ import annotations

from typing import Any

_IIN = "900101300017"
_DISCLOSURE: dict[str, Any] = {
    "recipient": "first-credit-bureau",
    "operation": "credit_report",
    "purpose": "application_review",
    "data": {"identity": {"iin": _IIN}},
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "DisclosureRequest": _DISCLOSURE,
    "ConsentRequest": {
        "subject": {"iin": _IIN},
        "operator": {"name": "ТОО «Микрофинансовая организация»", "bin": "230340000017"},
        "given_at": "2025-01-15T10:30:00+05:00",
        "expires_at": "2035-01-15T10:30:00+05:00",
        "purposes": ["application_review"],
        "third_parties": ["credit_bureau"],
        "cross_border": False,
        "publication": False,
        "fields": ["identity"],
        "policy": "2025-01",
        "evidence": {"method": "otp", "reference": "otp-1"},
    },
    "WithdrawalRequest": {"duties_met": True},
    "SearchRequest": {"recipient": "first-credit-bureau", "kind": "intent", "count": 20},
    "ErasureRequest": {
        "iin": _IIN,
        "person": "A. Auditor",
        "reason": "asked for on paper",
        "duties_met": True,
        "instrument": "94-V art. 18",
    },
    "RecallRequest": {
        "of": "0198c5a0-0000-7000-8000-000000000003",
        "reason": "repayment",
        "person": "A. Auditor",
        "due_on": "2035-01-15",
    },
    "SubjectReportRequest": {"iin": _IIN},
    "ApprovalDecision": {"person": "B. Deputy", "reason": "seen the letter"},
    "RecallConfirmation": {"person": "A. Auditor"},
}
"""By the name of the model."""
