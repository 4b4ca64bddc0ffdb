"""What is said about the ledger to people outside it: the report to one person (7.1(1)), the register of transfers.

Read in one view of the database, made of entries, registers and the configuration; never of anybody else's entries.
Sends nothing, enters nothing, and knows nothing of the web.
"""
