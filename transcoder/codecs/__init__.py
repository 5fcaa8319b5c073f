"""Lossless codecs, one module a family, and encoding the frames of one instance with them."""
