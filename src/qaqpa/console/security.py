"""What keeps a browser from being used against the person who sits before it."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from qaqpa.errors import NotAllowed

COOKIE, SECURE_COOKIE = "qaqpa_console", "__Host-qaqpa_console"
"""Over https the cookie has a prefix that binds it to this host, this path and https (RFC 6265bis §4.1.3)."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Content-Security-Policy: nothing from another host, nothing written into a page."""

Headers = tuple[tuple[bytes, bytes], ...]
HEADERS: Headers = tuple(
    (name.encode(), value.encode())
    for name, value in (
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),  # with less a browser would not say from where a form comes
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
        ("cache-control", "no-store"),
    )
)
SECURE_HEADERS: Headers = ((b"strict-transport-security", b"max-age=31536000"),)
"""Beside those over https: for a year a browser asks this host in no other way (RFC 6797)."""


def _ours(request: Request, url: str) -> set[str]:
    """Origins that are this console's."""
    return {url, f"{urlsplit(url).scheme}://{request.headers.get('host', '')}"}


def came_from(request: Request, url: str) -> str:
    """Path and query of the page of ours that a browser says it came from; else empty."""
    scheme, _, rest = request.headers.get("referer", "").partition("://")
    host, slash, path = rest.partition("/")
    return f"/{path}" if slash and f"{scheme}://{host}" in _ours(request, url) else ""


def require_same_origin(request: Request, url: str) -> None:
    """Raises NotAllowed for what another site's page had a browser send (Fetch Metadata, Origin of RFC 6454).

    A browser that was led here under another host's name has no session here, so what it calls us is believed.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    ours = _ours(request, url)
    if (origin is not None and origin not in ours) or (site is not None and site not in {"same-origin", "none"}):
        raise NotAllowed(f"this was sent from another place: the console is at {url} (console.url)")
