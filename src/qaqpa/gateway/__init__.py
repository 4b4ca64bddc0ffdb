"""The flows: what happens, in order, when a caller asks for a disclosure."""

from qaqpa.gateway.gateway import Gateway
from qaqpa.gateway.setup import Setup, load_setup

__all__ = ["Gateway", "Setup", "load_setup"]
