"""The operator's configuration: strict TOML, every problem at once with file, line and key.

What law always demands is code; what the operator decides is here; config can only narrow.
"""

from qaqpa.config.load import Source, load, load_draft
from qaqpa.config.models import Config

__all__ = ["Config", "Source", "load", "load_draft"]
