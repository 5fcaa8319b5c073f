"""Reading a received file: file meta information, elements, VRs, byte order, pixel layout, fragments."""
