"""The buyer's files: which fields stand in them, in which order. Their form is that of `claim_json`."""

from __future__ import annotations

from qaqpa_adapters.claim_json import DEBTOR_FIELDS

PREVIEW_NEEDED = ("contract.number", "contract.total_due", "contract.days_overdue")
PREVIEW_FIELDS = (
    "contract.number",
    "identity.birth_date",
    "identity.sex",
    "contact.registered_address",
    "contract.signed_on",
    "contract.matures_on",
    "contract.currency",
    "contract.amount",
    "contract.rate",
    "contract.principal",
    "contract.total_due",
    "contract.days_overdue",
    "contract.collateral",
)
"""What a portfolio without names may hold; the route says in which form."""

NEEDED = (
    "identity.iin",
    "identity.last_name",
    "identity.first_name",
    "contract.number",
    "contract.signed_on",
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
    "contract.rate",
    "contract.effective_rate",
    "contract.balance_on",
    "contract.principal",
    "contract.overdue_principal",
    "contract.interest",
    "contract.overdue_interest",
    "contract.penalty",
    "contract.expenses",
    "contract.total_due",
    "contract.days_overdue",
    "contract.last_paid_on",
    "contract.collateral",
    "contract.price",
    "contract.court_status",
)
"""In the order in which they stand in the message."""
