"""`python -m plugin check`: checks a configuration before Orthanc is started with it."""
