"""Refuses requests that a page of another site made a browser send (cross-site request forgery).

The browser adds the operator's password to such a request.

Sources: Fetch Metadata Request Headers (W3C), RFC 6454 (Origin), OWASP's cheat sheet on cross-site request forgery.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def refusal(headers: Mapping[str, str]) -> str:
    """Why a request that changes something must not be served.

    A browser says where a request comes from: in Sec-Fetch-Site (secure origins only), else in Origin. A program such
    as curl sends neither and is let through: the user who started it gave it its password.

    Args:
        headers: by lower-case name.

    Returns:
        Empty, or one line for the client.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return "" if site in {"same-origin", "none"} else f"refused: a page of another site asked for this ({site})"
    origin = headers.get("origin")
    if origin is None:
        return ""
    # A reverse proxy names the host that the browser asked for. Behind several proxies the first name counts.
    asked = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    if asked and _authority(origin) == asked.lower():
        return ""
    return (
        f"refused: the page that asked for this is of {origin}, this server is {asked}; "
        "behind a reverse proxy, let it pass Host on or set X-Forwarded-Host"
    )


def _authority(origin: str) -> str:
    """Host and port as a Host header has them: without the scheme's own port."""
    parts = urlsplit(origin.lower())
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.netloc.removesuffix(default) if default else ""
