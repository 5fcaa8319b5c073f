"""Reads elements and file meta information of DICOM files, for several packages; and the UIDs that they share."""
