"""Helpers of several packages that know nothing of DICOM or Orthanc: log lines, retries, a worker pool."""
