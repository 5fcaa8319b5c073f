"""Which folder the libraries come from, and the one line that says why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.environment import EnvironmentRefusedError, activate, site_packages


def make_environment(bundle: Path, version: str) -> Path:
    folder = bundle / "env" / "lib" / f"python{version}" / "site-packages"
    folder.mkdir(parents=True)
    return folder


def test_the_environment_of_the_embedded_python_is_found(tmp_path: Path) -> None:
    make_environment(tmp_path, "3.13")
    folder = make_environment(tmp_path, "3.11")
    assert site_packages(tmp_path, (3, 11)) == folder


def test_an_environment_for_another_python_is_refused_by_name(tmp_path: Path) -> None:
    make_environment(tmp_path, "3.13")
    with pytest.raises(
        EnvironmentRefusedError,
        match=r"was made for Python 3\.13, but this Orthanc embeds Python 3\.11: run 'make setup'",
    ):
        site_packages(tmp_path, (3, 11))


def test_a_missing_environment_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentRefusedError, match=r"no libraries for Python 3\.11 in .*: run 'make setup'"):
        site_packages(tmp_path, (3, 11))


def test_a_broken_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    folder = make_environment(tmp_path, f"{sys.version_info.major}.{sys.version_info.minor}")
    (folder / "msgspec.py").write_text("raise ImportError('wrong ELF class')")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "msgspec", raising=False)
    with pytest.raises(EnvironmentRefusedError, match=r"cannot import msgspec from .*: wrong ELF class"):
        activate(tmp_path)


def test_a_packed_bundle_is_told_which_archive_it_needs(tmp_path: Path) -> None:
    make_environment(tmp_path, "3.11")
    (tmp_path / "VERSION").touch()
    with pytest.raises(EnvironmentRefusedError, match=r"install orthanc-ingest-bundle-\.\.\.-py313\.tar\.gz over it"):
        site_packages(tmp_path, (3, 13))
