"""The deletion bench runs from end to end, in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.deletion import RUN, Plan, Report

pytestmark = [pytest.mark.orthanc, pytest.mark.slow]

TINY = Plan(
    slices=8,
    large=12,
    depths=(300,),
    sample=200,
    clients=(2,),
    syncs=(True,),
    rounds=1,
    backlog=300,
    tops=1,
    slow=False,
    removals=1500,
    quiet_s=0.1,
)
COLUMNS = {
    "remove": "| this disk | ledger locked |",
    "delete": "| this disk | 12 | bundle |",
    "drain": "| 300 |",
    "p99": "| during a drain |",
    "ingest": "| on | 2 | bundle |",
    "cost": "| 2 | all but transcoding |",
}


@pytest.mark.parametrize("step", RUN)
def test_each_step_gives_a_table(tmp_path: Path, step: str) -> None:
    report, said = Report(), list[str]()
    RUN[step](TINY, tmp_path, report, said.append)
    assert said
    assert report.samples[step]
    assert COLUMNS[step] in report.tables[0]
