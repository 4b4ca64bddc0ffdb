"""The only door: nothing else in Qaqpa opens a connection to a third party, and only flows call it.

`send` takes a `Sealed` and nothing else. What failed is said so that the ledger can tell the truth: `NotSent` only
where no connection ever carried the message, `Unsettled` in every case of doubt.
"""

from qaqpa.transport.transport import Transport

__all__ = ["Transport"]
