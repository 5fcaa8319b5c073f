"""What several packages know of DICOM: how elements and file meta information are read, and UIDs.

Knows nothing of the packages that use it.
"""
