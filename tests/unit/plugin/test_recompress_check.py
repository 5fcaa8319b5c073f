"""Recompress without a Python program: `plugin check` refuses it with the words of Orthanc's start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.orthanc_process import base_configuration
from plugin.check import command as check
from transcoder.decoding import interpreter


def written(folder: Path, section: dict[str, Any]) -> str:
    path = folder / "orthanc.json"
    path.write_text(json.dumps(base_configuration(folder, bundle=True) | {"IngestTranscoder": section}))
    return str(path)


def test_check_starts_the_decoder_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, {"Default": "JPEGLSLossless", "Recompress": True})
    assert check.main(["check", path]) == check.FINE
    assert "GET /transcoder/decoder" in capsys.readouterr().out


def test_check_says_that_there_is_no_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "candidates", list)
    path = written(tmp_path, {"Default": "JPEGLSLossless", "Recompress": True})
    assert check.main(["check", path]) == check.REFUSED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("refused: ")
    assert "IngestTranscoder: no fitting python3." in lines[0]
    assert "expected Debian's package python3" in lines[0]
    path = written(tmp_path, {"Default": "JPEGLSLossless"})
    assert check.main(["check", path]) == check.FINE, "only Recompress needs it"
