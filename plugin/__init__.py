"""What Orthanc's Python plugin loads: the only package of the bundle that knows Orthanc's SDK."""

__version__ = "0.2.0"
