"""Measures Orthanc with the bundle against native Orthanc, side by side in one run.

Compare ratios between machines, not seconds.
"""
