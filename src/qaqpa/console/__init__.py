"""The web console: see every disclosure, answer every person, prove it. A part of `qaqpa serve`, under /console/.

Pages are made on the server and work without scripts. Everything that is looked at is entered, under the name of who
looked; identities are masked until somebody says why they must be seen.
"""

from qaqpa.console.opening import Later, open_console
from qaqpa.console.visit import ROOT

__all__ = ["ROOT", "Later", "open_console"]
