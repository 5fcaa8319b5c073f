"""Measures Orthanc with the bundle against native Orthanc, side by side in one run. Ratios travel between machines; seconds do not."""
