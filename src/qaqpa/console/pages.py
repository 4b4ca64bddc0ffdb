"""Every page of the console. A test walks all of them by all roles."""

from __future__ import annotations

from qaqpa.console import (
    account,
    alerts,
    approving,
    breaches,
    consents,
    disclosures,
    draft,
    entries,
    handovers,
    ledger,
    overview,
    policy,
    recalls,
    recipients,
    register,
    subjects,
    trying,
    versions,
)
from qaqpa.console.page import Page

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *disclosures.PAGES,
    *entries.PAGES,
    *subjects.PAGES,
    *trying.PAGES,  # before handovers, of which one could be called so
    *handovers.PAGES,
    *recalls.PAGES,
    *policy.PAGES,
    *versions.PAGES,
    *draft.PAGES,
    *consents.PAGES,
    *recipients.PAGES,
    *alerts.PAGES,
    *breaches.PAGES,
    *register.PAGES,
    *ledger.PAGES,
    *approving.PAGES,
    *account.PAGES,
)
