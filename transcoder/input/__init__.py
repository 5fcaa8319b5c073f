"""Reads a received file: file meta information, header, VRs, byte order, pixel layout, fragments."""
