"""Registers: the tables that departments bring and recipients get.

`read` tells the kind of a file by its content, understands its heading by a `Layout`, and yields each row with its
values and what is wrong with them. `writer` and `write_results` go the other way. It is pure: it knows the vocabulary,
and no route, ledger or policy; it keeps nothing, and puts nothing on a disk.
"""

from qaqpa.tables.duplicates import Duplicates
from qaqpa.tables.headings import FACTS, HEADINGS, READABLE
from qaqpa.tables.kind import Kind, kind_of_name
from qaqpa.tables.layout import Layout, Row
from qaqpa.tables.limits import DEFAULT, Limits
from qaqpa.tables.problems import MESSAGES, Problem
from qaqpa.tables.reading import Register, read
from qaqpa.tables.results import Result, write_results
from qaqpa.tables.values import Value
from qaqpa.tables.writing import Sink, Writer, writer

__all__ = [
    "DEFAULT",
    "FACTS",
    "HEADINGS",
    "MESSAGES",
    "READABLE",
    "Duplicates",
    "Kind",
    "Layout",
    "Limits",
    "Problem",
    "Register",
    "Result",
    "Row",
    "Sink",
    "Value",
    "Writer",
    "kind_of_name",
    "read",
    "write_results",
    "writer",
]
