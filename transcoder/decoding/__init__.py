"""Decodes compressed pixel data in a process of its own, since a hostile stream may crash a decoder.

`worker` runs there, with `decoders`, `streams` and `limits`. `recompress`, `supervisor`, `deaths`, `process` and
`interpreter` run in this process. Both sides use `protocol`.

What the worker imports stays within this folder, so that it starts in a fifth of a second.
"""
