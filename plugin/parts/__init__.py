"""The sections of the bundle as parts that `plugin.bundle` puts together; each module wires one core to Orthanc."""
