"""What the tests in a browser share."""

from stage import stage

__all__ = ["stage"]
