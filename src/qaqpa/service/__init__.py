"""The online service: `/v1` over HTTP, for internal callers. It decides nothing; the gateway does."""

from qaqpa.service.app import make_app

__all__ = ["make_app"]
