"""Python's log records as lines of Orthanc's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from plugin import logs
from tests.support.stub_orthanc import StubOrthanc


@pytest.fixture
def restored_loggers() -> Iterator[None]:
    """`install` changes the process's loggers; other tests want them as they were."""
    before = {name: (logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in logs.PACKAGES}
    yield
    for name, (handlers, propagate) in before.items():
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = handlers, propagate


@pytest.mark.usefixtures("restored_loggers")
def test_levels_are_orthancs_and_a_record_is_one_line() -> None:
    sdk = StubOrthanc("LogInfo", "LogWarning", "LogError")
    logs.install(sdk)
    logger = logging.getLogger("deferred_delete.worker.worker")
    logger.debug("not for the log")
    logger.info("drained %d", 3)
    logger.warning("slow")
    logger.error("two\nlines")
    assert sdk.calls == [
        ("LogInfo", ("deferred_delete.worker.worker: drained 3",)),
        ("LogWarning", ("deferred_delete.worker.worker: slow",)),
        ("LogError", ("deferred_delete.worker.worker: two | lines",)),
    ]


@pytest.mark.usefixtures("restored_loggers")
def test_other_libraries_are_left_alone() -> None:
    logs.install(StubOrthanc())  # raises on any call
    logging.getLogger("pydicom").warning("theirs")
