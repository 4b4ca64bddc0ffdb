"""Tables, transactions and durability. What the rows mean is for the layers above to say."""

from qaqpa.store.sqlite import SqliteStore, Writes

Store = SqliteStore
"""The store that the layers above are given."""

__all__ = ["SqliteStore", "Store", "Writes"]
