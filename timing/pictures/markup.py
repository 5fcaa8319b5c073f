"""Makes text safe for HTML and SVG, and writes durations and lengths."""

import html
import unicodedata
from typing import Final

_CUT: Final = 160


def safe(text: str, length: int = _CUT) -> str:
    """Return `text` for elements and quoted attributes: cut, without control and direction characters, escaped."""
    shown = "".join(
        "\ufffd" if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Co", "Cn"} else sign for sign in text[:length]
    )
    return html.escape(shown + ("…" if len(text) > length else ""), quote=True)


def duration(milliseconds: float) -> str:
    """Return a duration as people read it."""
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:,.1f} s"
    if milliseconds >= 100:
        return f"{milliseconds:,.0f} ms"
    return f"{milliseconds:.1f} ms" if milliseconds >= 1 else f"{milliseconds:.2f} ms"


def percent(value: float) -> str:
    """Return a length as CSS and SVG take it, `value` in hundredths."""
    return f"{min(max(value, 0.0), 100.0):.3f}%"
