"""The deletion benchmark where something of the system is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import deletion, deletion_latency, deletion_plan, slow_disk


def test_without_the_means_for_a_slow_disk_the_rest_is_measured_and_the_table_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_folder: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", "mkfs.ext4")

    monkeypatch.setattr(slow_disk, "slow_disk", none)
    monkeypatch.setattr(deletion_latency, "measure", lambda *_, **__: [])
    report = deletion_plan.Report()
    deletion.delete_step(deletion_plan.QUICK, tmp_path, report, lambda _: None)
    assert "No slow disk: mkfs.ext4: No such file or directory" in report.tables[0]
