"""Adapters shipped with Qaqpa, one folder a third party."""
