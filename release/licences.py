"""Collects the licences of everything that the packed bundle contains into one text."""

from __future__ import annotations

import email.parser
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from .wheels import Library, PackingError

_LICENCE_FILE = re.compile(r"licen[cs]e|copying|notice|authors", re.IGNORECASE)
_NOT_TEXT = {".py", ".pyc", ".so", ".pyi", ".json"}
_RULE = "=" * 100


def third_party(libraries: Iterable[Library], supplied: Path, vendored: Mapping[str, bytes]) -> str:
    """The list of names, versions and licences, followed by every licence text.

    Args:
        libraries: as they are packed.
        supplied: a folder of NAME.txt for libraries whose wheel carries no text.
        vendored: licence texts among our own files (libraries of the page), by path.

    Raises:
        PackingError: a library has no licence text.
    """
    lines = ["Libraries that this bundle contains, with their licences. The bundle itself: see LICENSE.", ""]
    texts = []
    for library in libraries:
        lines.append(f"{library.name} {library.version}: {_declared(library)}")
        found = _texts(library)
        own = supplied / f"{library.name}.txt"
        if not any(re.search(r"licen[cs]e|copying", path, re.IGNORECASE) for path in found):
            if not own.is_file():
                raise PackingError(
                    f"{library.name} {library.version} has no licence text in its wheel: put it into {own}, from the "
                    "project's own source"
                )
            found[own.name] = own.read_bytes()
        texts += [(f"{library.name} {library.version}: {path}", content) for path, content in found.items()]
    texts += sorted(vendored.items())
    lines += [f"{path}: a file of this bundle" for path in sorted(vendored)]
    for title, content in texts:
        lines += ["", _RULE, title, _RULE, "", content.decode("utf-8", "replace").strip()]
    return "\n".join(lines) + "\n"


def _texts(library: Library) -> dict[str, bytes]:
    """Every licence, notice and list of authors in the wheel, also those of libraries inside the library."""
    found = {}
    for path, content in sorted(library.files.items()):
        pure = PurePosixPath(path)
        of_folder = any(part in {"licenses", "licences"} for part in pure.parts[:-1])
        if pure.suffix not in _NOT_TEXT and (of_folder or _LICENCE_FILE.search(pure.name)):
            found[path] = content
    return found


def _declared(library: Library) -> str:
    """What the wheel's metadata calls its licence."""
    metadata = email.parser.BytesHeaderParser().parsebytes(library.files[f"{library.metadata_folder}/METADATA"])
    classifiers = [
        value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier", []) if value.startswith("License")
    ]
    written = metadata["License-Expression"] or (metadata["License"] or "").strip().partition("\n")[0]
    return written or ", ".join(classifiers) or "see its text"
