"""Starts a real Orthanc, makes studies and sends them, for `make run`, tests and benchmarks.

Orthanc never loads it.
"""
