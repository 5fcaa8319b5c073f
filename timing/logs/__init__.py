"""Reads the stages of each instance out of the log of any Orthanc from 1.10 on, with or without the bundle."""

from .finding import Finding
from .reader import read_logs
from .report import LogReport

__all__ = ["Finding", "LogReport", "read_logs"]
