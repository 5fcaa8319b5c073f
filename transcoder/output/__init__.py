"""Writing the new file around its encoded frames."""
