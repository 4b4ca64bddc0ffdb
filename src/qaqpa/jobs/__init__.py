"""Durable jobs: work that outlives the process that began it. It knows ids and words, and never a value of a person."""

from qaqpa.jobs.jobs import Jobs, Outbox, Place, Run, Workflow

__all__ = ["Jobs", "Outbox", "Place", "Run", "Workflow"]
