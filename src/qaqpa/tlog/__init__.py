"""Transparency log formats: the Merkle tree of RFC 9162, and C2SP's tiles, signed notes, checkpoints and proofs.

Bytes in, bytes out: nothing here knows what an entry says, or reads a file or a database.
"""
