"""One module for each section of orthanc.json: connects its package to Orthanc."""
