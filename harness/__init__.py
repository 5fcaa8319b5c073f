"""Starts a real Orthanc, makes studies and sends them: shared by `make run`, the tests and the benchmarks. Never loaded by Orthanc."""
