"""The online service: `/v1` over HTTP, for internal callers. It decides nothing; the gateway does."""
