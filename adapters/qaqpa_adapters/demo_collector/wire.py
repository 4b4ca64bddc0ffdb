"""The agency's files: which fields stand in them, in which order. Their form is that of `claim_json`."""

from __future__ import annotations

from qaqpa_adapters.claim_json import DEBTOR_FIELDS

NEEDED = (
    "identity.iin",
    "identity.last_name",
    "identity.first_name",
    "contract.number",
    "contract.total_due",
    "contract.days_overdue",
)
FIELDS = (
    *DEBTOR_FIELDS,
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
