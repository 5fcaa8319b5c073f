"""`python -m plugin check`: looks at a configuration before Orthanc does."""
