"""The longer sentences of the report to one person."""

from qaqpa.translation import N_

LAW = N_("Law of the Republic of Kazakhstan No. 94-V “On personal data and their protection”, articles 24 and 25")
NOTHING = N_("The disclosure ledger holds nothing about a person with this IIN.")
NOTHING_FOUND = N_(
    "No consent, no disclosure and no refusal about this person can be found. Of somebody who was erased at their "
    "demand nothing can be found either."
)
WHAT_THIS_IS = N_(
    "This report is made from the disclosure ledger: before any personal data leave, it is entered there what leaves, "
    "to whom and why. The ledger names fields and does not hold their values; the values that the organisation itself "
    "keeps stand in its own records."
)
MOVED = N_(
    "Entries of these months were moved to files and are not in this report. They hold entries about this person, or "
    "may; ask the operator to read them."
)
PROOF = N_(
    "Numbers of entries in this report are their places in the ledger. For each the operator can give a proof that "
    "anybody can check against the checkpoint without trusting the operator."
)
OWN_IIN = N_("your IIN, encrypted with a key that is yours alone, to find these entries again")
ERASURE_PENDING = N_("pending until the keys are rotated: back-ups still hold this person's key")
FACTS_OF_RECORD = N_("facts of the contract were looked up in the organisation's system of record")
FACTS_STATED = N_("facts of the contract as whoever asked stated them")
OWN_RECORDS = N_("the organisation's own records, handed in by whoever asked")
REUSED = N_("An earlier report served again, within the time that its route allows. Nothing left.")
REFUSED = N_("These transfers were asked for inside the organisation and refused by the gate. Nothing left.")
RECALLED = N_("The operator asked these recipients to stop using the data and destroy them.")
EARLIER = N_("Earlier ones, counted above and listed in the electronic form of this report: %(count)s")
