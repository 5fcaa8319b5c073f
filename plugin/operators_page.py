"""The operators' page: static files below /bundle/, and a link to it in Orthanc Explorer."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from types import ModuleType

from .rest import Answer, Route

FOLDER = Path(__file__).resolve().parent / "pages"
HTML, SCRIPT, STYLE = "text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8"
# By the name in the URL. uPlot is in a folder of its own, with its licence.
FILES = {
    "index.html": ("index.html", HTML),
    "app.js": ("app.js", SCRIPT),
    "actions.js": ("actions.js", SCRIPT),
    "charts.js": ("charts.js", SCRIPT),
    "dom.js": ("dom.js", SCRIPT),
    "format.js": ("format.js", SCRIPT),
    "parts.js": ("parts.js", SCRIPT),
    "studies.js": ("studies.js", SCRIPT),
    "style.css": ("style.css", STYLE),
    "uPlot.iife.min.js": ("vendor/uPlot.iife.min.js", SCRIPT),
    "uPlot.min.css": ("vendor/uPlot.min.css", STYLE),
}
INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

# Orthanc Explorer is a jQuery Mobile page at app/explorer.html; the link is relative for the sake of reverse proxies.
EXPLORER_LINK = """
$('#lookup').live('pagebeforecreate', function() {
  $('<a>', { href: '../bundle/', 'data-role': 'button', 'data-icon': 'info', text: 'Ingest and deletion' })
    .attr('rel', 'external').appendTo($('#lookup-form').parent());
});
"""


def routes() -> list[Route]:
    """GET /bundle/ and the files it loads."""
    made = [_route(name, *FILES[name]) for name in FILES]
    # Orthanc removes a slash at the end of a URI before it looks for a callback, so this one answers /bundle/ too.
    return [made[0]._replace(path="/bundle"), *made[1:]]


def _route(name: str, file: str, media_type: str) -> Route:
    body = (FOLDER / file).read_bytes()
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if media_type == HTML:
        headers["Content-Security-Policy"] = content_security_policy(body)
    answer = Answer(body, media_type, headers)
    return Route("GET", f"/bundle/{name}", "the operators' page", lambda _: answer, media_type=media_type)


def content_security_policy(page: bytes) -> str:
    """The page's policy: nothing from other sites, no inline script but the page's own, no frame of another site.

    The hash of the inline script is what allows it.
    """
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(page)]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )


def link_from_explorer(sdk: ModuleType) -> None:
    """Adds the link to the page, where the SDK has the function for it."""
    extend = getattr(sdk, "ExtendOrthancExplorer", None)
    if extend is not None:
        extend(EXPLORER_LINK)
