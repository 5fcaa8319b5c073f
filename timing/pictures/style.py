"""Colours of the stages and the style of pictures and page, light and dark. Nothing is fetched from anywhere."""

from typing import Final

from .. import stages

# Told apart also by those who see few colours: neighbours in time differ in lightness as well. (light, dark)
_COLOURS: Final = {
    stages.WAIT: ("#c9ced6", "#4a515c"),
    stages.RECEIVE: ("#2f6fab", "#5b9bd5"),
    stages.TRANSCODE: ("#8e5aa8", "#b58ad0"),
    stages.PREPARE: ("#59a5a0", "#6fc0ba"),
    stages.WRITE: ("#e0912f", "#f0ab53"),
    stages.STORE: ("#b9722d", "#d99556"),
    stages.COMMIT: ("#b5413f", "#e0706d"),
    stages.UNKNOWN: ("#8b929c", "#7d8590"),
}
_OTHER: Final = (("#5d7f3a", "#8fb566"), ("#a04f86", "#d182b8"), ("#3c4f8f", "#8496d8"), ("#7a6a2a", "#bfae63"))


def class_of(stage: str) -> str:
    """Return the CSS class of a stage; the name of an unknown stage picks its colour, always the same."""
    return f"s-{stage}" if stage in _COLOURS else f"s-other{sum(stage.encode()) % len(_OTHER)}"


def _variables(which: int) -> str:
    colours = {f"s-{name}": pair for name, pair in _COLOURS.items()}
    colours |= {f"s-other{number}": pair for number, pair in enumerate(_OTHER)}
    return "".join(f"--{name}:{pair[which]};" for name, pair in colours.items())


_LIGHT: Final = (
    "--paper:#fff;--card:#f6f7f9;--ink:#1c2128;--soft:#5c6570;--line:#dfe3e8;--track:#eef0f3;--bad:#b5413f;"
    "--note:#5c6570;--accent:#2f6fab;"
)
_DARK: Final = (
    "--paper:#14171b;--card:#1c2026;--ink:#e6e9ed;--soft:#9aa3ae;--line:#2e343c;--track:#23282f;"
    "--bad:#e0706d;--note:#9aa3ae;--accent:#7fb2e5;"
)
_CLASSES: Final = "".join(
    f".{name}{{fill:var(--{name});color:var(--{name});background:var(--{name})}}"
    for name in [*(f"s-{stage}" for stage in _COLOURS), *(f"s-other{number}" for number in range(len(_OTHER)))]
)

PICTURE: Final = (
    f":root{{color-scheme:light dark;{_LIGHT}{_variables(0)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_DARK}{_variables(1)}}}}}"
    "svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft)}svg .strong{font-weight:600}"
    "svg .title{font-size:15px;font-weight:600}svg .track{fill:var(--track)}svg .paper{fill:var(--paper)}"
    "svg .idle{fill:var(--line)}.idle{background:var(--line);color:var(--line)}"
    f"svg .grid{{stroke:var(--line)}}{_CLASSES}"
)
"""Enough for an SVG that stands alone."""

PAGE: Final = PICTURE + (
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}"
    "main{max-width:980px;margin:0 auto;padding:28px 20px 48px}h1{font-size:24px;line-height:1.25;margin:0 0 4px}"
    "h2{font-size:17px;margin:36px 0 10px}h3{font-size:14px;margin:18px 0 6px}p{margin:6px 0}"
    ".soft,figcaption{color:var(--soft);font-size:13px}.lead{font-size:18px;line-height:1.45;margin:16px 0 0}"
    "figure{margin:0}figcaption{margin:6px 0 0}svg{display:block;overflow:visible}"
    "ul.findings{list-style:none;margin:0;padding:0}"
    "ul.findings li{background:var(--card);border-left:4px solid var(--note);"
    "border-radius:4px;padding:10px 14px;margin:0 0 10px;overflow-wrap:anywhere}"
    "ul.findings li.problem{border-color:var(--bad)}"
    "ul.findings p{margin:0}ul.findings .advice{color:var(--soft);margin-top:4px}"
    ".legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 10px;padding:0;list-style:none;font-size:13px}"
    ".legend i,td i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;vertical-align:-1px}"
    ".scroll{overflow-x:auto}table{margin:0 0 18px}.scroll table{margin-bottom:10px}"
    "table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;font-weight:600;padding:0 0 6px}"
    "th,td{padding:5px 10px 5px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th{font-weight:500;color:var(--soft)}th:first-child,td:first-child,.left{text-align:left}"
    "tr.total td{font-weight:600}td.wide{width:34%;min-width:90px;padding-right:0}"
    ".bar{display:flex;height:11px;border-radius:2px;overflow:hidden}.bar b{display:block;height:100%}"
    ".accent{background:var(--accent)}.bad{background:var(--bad)}.bad-text{color:var(--bad)}"
    "@media(max-width:560px){"
    "main{padding:18px 14px 32px}h1{font-size:20px}.lead{font-size:16px}.optional{display:none}}"
    "@media print{main{max-width:none}h2{break-after:avoid}figure,table{break-inside:avoid}}"
)
