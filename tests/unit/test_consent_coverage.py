"""Which consent covers what: every reason why not, the borders of its term, the newest that does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_policy import DAY, MICRO, NEED, NOW, OTHER_BIN, consent

from qaqpa.model.consent import Consent, Need, choose, uncovered

# --- coverage --------------------------------------------------------------------------------------

COVERAGE: dict[str, tuple[Consent, Need, bool | None, tuple[str, ...]]] = {
    "covers": (consent(), NEED, None, ()),
    "expires at this instant": (consent(expires_at=NOW), NEED, None, ("consent_expired",)),
    "expires a microsecond later": (consent(expires_at=NOW + MICRO), NEED, None, ()),
    "never expires": (consent(expires_at=None), NEED, None, ()),
    "given at this instant": (consent(given_at=NOW), NEED, None, ()),
    "given a microsecond later": (consent(given_at=NOW + MICRO), NEED, None, ("consent_not_yet_given",)),
    "recipient named": (consent(third_parties=["first-credit-bureau"]), NEED, None, ()),
    "another of the kind named": (
        consent(third_parties=["state-credit-bureau"]), NEED, None, ("consent_for_other_recipient",)
    ),
    "one of several": (consent(third_parties=["pension_center", "credit_bureau"]), NEED, None, ()),
    "paths for a group": (consent(fields=["identity.iin", "identity.last_name"]), NEED, None, ()),
    "a path short": (consent(fields=["identity.iin", "contact"]), NEED, None, ("consent_without_field",)),
    "other purpose": (consent(purposes=["cession"]), NEED, None, ("consent_for_other_purpose",)),
    "other operator": (consent(bin=OTHER_BIN), NEED, None, ("consent_for_other_operator",)),
    "abroad without leave": (consent(), replace(NEED, abroad=True), None, ("consent_without_cross_border",)),
    "abroad with leave": (consent(cross_border=True), replace(NEED, abroad=True), None, ()),
    "withdrawn": (consent(withdrawn=True), NEED, None, ("consent_withdrawn",)),
    "pending, nothing stated": (consent(asked_to_withdraw=True), NEED, None, ()),
    "pending, duties open": (consent(asked_to_withdraw=True), NEED, False, ()),
    "pending, duties met": (consent(asked_to_withdraw=True), NEED, True, ("consent_withdrawn",)),
    "duties met, not asked for": (consent(), NEED, True, ()),
    "all at once": (
        consent(given_at=NOW + DAY, expires_at=NOW + 2 * DAY, purposes=["cession"], third_parties=["collector"],
                bin=OTHER_BIN, fields=["bank"], withdrawn=True),
        replace(NEED, abroad=True), None,
        ("consent_withdrawn", "consent_not_yet_given", "consent_for_other_operator", "consent_for_other_purpose",
         "consent_for_other_recipient", "consent_without_cross_border", "consent_without_field"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given_consent", "need", "met", "why"), COVERAGE.values(), ids=COVERAGE.keys())
def test_why_a_consent_does_not_cover(
    given_consent: Consent, need: Need, met: bool | None, why: tuple[str, ...]
) -> None:
    assert tuple(reason.value for reason in uncovered(given_consent, need, NOW, duties_met=met)) == why


def test_the_newest_that_covers_is_chosen_else_the_nearest_is_explained() -> None:
    old, new = consent(1, given_at=NOW - 9 * DAY), consent(2, given_at=NOW - DAY)
    newest_of_other_purpose = consent(3, given_at=NOW - MICRO, purposes=["cession"], third_parties=["collector"])
    assert choose((old, newest_of_other_purpose, new), NEED, NOW, duties_met=None) == (new, ())
    assert choose((), NEED, NOW, duties_met=None) == (None, ("consent_absent",))
    expired = consent(4, expires_at=NOW)
    assert choose((newest_of_other_purpose, expired), NEED, NOW, duties_met=None) == (None, ("consent_expired",))
