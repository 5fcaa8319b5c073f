"""The operators' page: three static files below /bundle/, and a link to it in Orthanc Explorer."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from .rest import Answer, Route

FOLDER = Path(__file__).resolve().parent / "pages"
FILES = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}

# Orthanc Explorer is a jQuery Mobile page at app/explorer.html; the link is relative for the sake of reverse proxies.
EXPLORER_LINK = """
$('#lookup').live('pagebeforecreate', function() {
  $('<a>', { href: '../bundle/', 'data-role': 'button', 'data-icon': 'info', text: 'Ingest and deletion' })
    .attr('rel', 'external').appendTo($('#lookup-form').parent());
});
"""


def routes() -> list[Route]:
    """GET /bundle/ and the files it loads."""
    made = [_route(name, media_type) for name, media_type in FILES.items()]
    # Orthanc takes a slash at the end of a URI away before it looks for a callback: this one answers /bundle/ and /bundle.
    return [made[0]._replace(path="/bundle"), *made[1:]]


def _route(name: str, media_type: str) -> Route:
    body = (FOLDER / name).read_bytes()
    return Route("GET", f"/bundle/{name}", "the operators' page", lambda _: Answer(body, media_type))


def link_from_explorer(sdk: ModuleType) -> None:
    """Adds the link, where this SDK can."""
    extend = getattr(sdk, "ExtendOrthancExplorer", None)
    if extend is not None:
        extend(EXPLORER_LINK)
