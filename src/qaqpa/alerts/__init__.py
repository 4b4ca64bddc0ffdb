"""Alerts (policy 5.5): rules on the ledger's entries and on the gate itself, in time to limit harm.

Rules are pure and see small summaries of what is new; what they remember between two looks is a few rows. Nothing here
opens a sealed part, and no alert holds a personal value of a data subject.
"""
