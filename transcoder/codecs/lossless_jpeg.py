"""A JPEG lossless encoder, process 14 selection value 1 (ITU-T T.81 annex H), written with numpy.

libjpeg-turbo codes each sample by several calls and goes over the image twice: 8.7 ms for 512 x 512 samples of 12 bits
where this takes 3 (the stream is as long to a thousandth). Every step here is an operation on whole arrays:
differences, a table look-up that gives each difference its bits, and neighbours joined in pairs until they fill machine
words. numpy releases the GIL in all of them.

Streams are decoded by libraries only (libjpeg-turbo here, DCMTK, GDCM and pydicom in tests), so that encoder and
decoder share no code.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

# Samples coded at a time: arrays of a quarter of a megabyte at most, which malloc recycles whatever its thresholds are.
# With four times as many it took memory from the kernel and gave it back each time: 2,000 page faults a slice doubled
# the time.
_BAND_SAMPLES = 32768
# Every n-th difference is counted for the Huffman table: an odd number, so that the columns counted change from row to
# row.
_COUNT_EVERY = 7
# No symbol counts as rarer than one in this many, seen or not. Its code is then at most 15 bits long, beside the one
# that is reserved, since a Huffman code of n bits needs a total weight of the (n+2)th Fibonacci number (2584 for 16).
_RAREST_ONE_IN = 1024

_WORD_BITS = np.uint64(64)
_IN_WORD = np.uint64(63)
_WORD_SHIFT = np.uint64(6)
_ONE = np.uint64(1)

# "No transformation", which for three components means RGB.
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


# Differences modulo 2**16 in their order, in runs of one category SSSS (T.81 table H.2): 0, 1, 2 and 3, ..., 32768,
# ..., -3 and -2, -1.
_RUN_CATEGORIES = [*range(17), *range(15, 0, -1)]
_RUN_LENGTHS = [1, *(1 << power for power in range(15)), 1, *(1 << power for power in range(14, -1, -1))]
_CATEGORY: Any = np.repeat(np.array(_RUN_CATEGORIES, np.uint8), _RUN_LENGTHS)
_LENGTH_BITS = 8
_LENGTH = np.uint64(255)


def _following_bits() -> Any:
    """For every difference the bits that follow its category (T.81 F.1.2.1), shifted as `_code_table` wants them."""
    signed = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int64)
    bits = np.where(signed < 0, signed + (1 << _CATEGORY.astype(np.int64)) - 1, signed)
    bits[32768] = 0  # T.81 H.1.2.2: nothing follows SSSS 16
    return bits.astype(np.uint64) << np.uint64(_LENGTH_BITS)


_FOLLOWING = _following_bits()


def encode(samples: Any, precision: int, *, rgb: bool = False) -> bytes:
    """One frame as a JPEG stream.

    Some readers take the colour space from the stream and not from Photometric Interpretation. So streams of RGB say
    RGB. Streams of YBR_FULL say nothing, as GDCM's do: where a marker says YCbCr (JFIF, or Adobe's), libjpeg-turbo
    refuses to decode.

    Args:
        samples: rows x columns or rows x columns x 3, of uint8 or uint16.
        precision: bits of the samples; 2 to 16, none may be set above.
        rgb: whether the three components are red, green and blue.
    """
    components = 1 if samples.ndim == 2 else samples.shape[2]
    differences = _differences(samples.reshape(samples.shape[0], samples.shape[1], components), precision)
    lengths, codes, symbols = _huffman(differences, precision)
    words = b"".join(_entropy_coded(differences, lengths, codes))
    return b"".join(
        (
            b"\xff\xd8",
            _ADOBE_RGB if rgb else b"",
            _tables(samples.shape, b"RGB" if rgb else bytes(range(1, components + 1)), precision, lengths, symbols),
            words.replace(b"\xff", b"\xff\x00"),  # T.81 B.1.1.5
            b"\xff\xd9",
        )
    )


def _differences(samples: Any, precision: int) -> Any:
    """Each sample less its left neighbour, modulo 2**16; in the first column less the one above (T.81 H.1.2.1)."""
    wide = samples.astype(np.uint16, copy=False)
    differences = np.empty(wide.shape, np.uint16)
    np.subtract(wide[:, 1:], wide[:, :-1], out=differences[:, 1:])
    np.subtract(wide[1:, 0], wide[:-1, 0], out=differences[1:, 0])
    np.subtract(wide[0, 0], np.uint16(1 << (precision - 1)), out=differences[0, 0])
    return differences.reshape(-1)


def _huffman(differences: Any, precision: int) -> tuple[Any, Any, list[int]]:
    """A canonical Huffman code for the categories (T.81 annex C and K.2).

    Returns:
        Length and code of every category, and the categories in the order of their codes.
    """
    counted = _CATEGORY.take(differences[::_COUNT_EVERY])
    weights = np.maximum(np.bincount(counted, minlength=precision + 1), max(1, len(counted) // _RAREST_ONE_IN))
    by_category = code_lengths([int(weight) for weight in weights])
    symbols = sorted(range(len(by_category)), key=lambda symbol: (by_category[symbol], symbol))
    codes = [0] * 17
    code = 0
    for before, symbol in pairwise(symbols):
        code = (code + 1) << (by_category[symbol] - by_category[before])
        codes[symbol] = code
    lengths = by_category + [0] * (17 - len(by_category))
    return np.array(lengths, np.uint8), np.array(codes, np.uint64), symbols


def code_lengths(weights: list[int]) -> list[int]:
    """Lengths of a Huffman code in which the code of ones alone is left free, as T.81 C asks."""
    lengths = [0] * (len(weights) + 1)
    # The last is the reserved code, lighter than all, so that it is among the longest.
    heap = [(weight, number, [number]) for number, weight in enumerate([*weights, 0])]
    heapq.heapify(heap)
    number = len(heap)
    while len(heap) > 1:
        light, _, ones = heapq.heappop(heap)
        heavy, _, others = heapq.heappop(heap)
        for symbol in ones + others:
            lengths[symbol] += 1
        heapq.heappush(heap, (light + heavy, number, ones + others))
        number += 1
    return lengths[:-1]


def _tables(shape: tuple[int, ...], names: bytes, precision: int, lengths: Any, symbols: list[int]) -> bytes:
    """SOF3, DHT and SOS with selection value 1 (T.81 B.2), and a component for each name."""
    frame = b"".join(bytes((name, 0x11, 0)) for name in names)
    scan = b"".join(bytes((name, 0)) for name in names)
    counts = np.bincount(lengths[symbols], minlength=17)[1:].astype(np.uint8).tobytes()
    return b"".join(
        (
            b"\xff\xc3" + struct.pack(">HBHHB", 8 + len(frame), precision, shape[0], shape[1], len(names)) + frame,
            b"\xff\xc4" + struct.pack(">HB", 19 + len(symbols), 0) + counts + bytes(symbols),
            b"\xff\xda" + struct.pack(">HB", 6 + len(scan), len(names)) + scan + b"\x01\x00\x00",
        )
    )


def _code_table(lengths: Any, codes: Any) -> Any:
    """For every difference all its bits, and below them (in `_LENGTH_BITS`) how many: one look-up gives both."""
    entries = []
    for category in _RUN_CATEGORIES:
        following = category % 16
        entries.append(int(codes[category]) << (following + _LENGTH_BITS) | int(lengths[category]) + following)
    return np.repeat(np.array(entries, np.uint64), _RUN_LENGTHS) | _FOLLOWING


def _entropy_coded(differences: Any, lengths: Any, codes: Any) -> Iterator[bytes]:
    """The bits of all differences, most significant first, the last byte filled with ones (T.81 F.1.2.3)."""
    table = _code_table(lengths, codes)
    carry, offset = np.uint64(0), 0
    for start in range(0, len(differences), _BAND_SAMPLES):
        entries = table.take(differences[start : start + _BAND_SAMPLES])
        words, offset = _packed(*_joined(entries >> np.uint64(_LENGTH_BITS), entries & _LENGTH), carry, offset)
        carry = words[-1]
        yield words[:-1].byteswap().tobytes()
    if offset:
        filled = int(carry) | (1 << (64 - offset)) - 1
        yield filled.to_bytes(8, "big")[: (offset + 7) // 8]


def _joined(bits: Any, lengths: Any) -> tuple[Any, Any]:
    """Neighbours joined in pairs, again and again, as long as every pair fits into a word.

    One difference takes at most 31 bits, so that two always fit.
    """
    while len(bits) > 1:
        if len(bits) % 2:
            bits, lengths = np.append(bits, np.uint64(0)), np.append(lengths, np.uint64(0))
        together = lengths[0::2] + lengths[1::2]
        if int(together.max()) > 64:
            break
        bits, lengths = bits[0::2] << lengths[1::2] | bits[1::2], together
    return bits, lengths


def _packed(bits: Any, lengths: Any, carry: Any, offset: int) -> tuple[Any, int]:
    """Pieces of up to 64 bits packed into words, one after the other.

    Args:
        bits: right-aligned in uint64.
        lengths: how many bits each has, as uint64.
        carry: the word that is not full yet.
        offset: how many of its bits are taken.

    Returns:
        The words, of which the last is not full, and how many of its bits are taken.
    """
    ends = np.cumsum(lengths) + np.uint64(offset)
    starts = ends - lengths
    within = starts & _IN_WORD
    word = (starts >> _WORD_SHIFT).astype(np.int64)
    aligned = bits << (_WORD_BITS - lengths)
    # A piece is no longer than a word, so at least one starts in every word; the last of these may reach into the next.
    firsts = np.flatnonzero(np.diff(word, prepend=-1))
    lasts = np.append(firsts[1:] - 1, len(word) - 1)
    total = int(ends[-1])
    words = np.zeros(total // 64 + 2, np.uint64)
    words[word[firsts]] = np.bitwise_or.reduceat(aligned >> within, firsts)
    # Two shifts: by 64, where a piece begins with its word, is not defined.
    words[word[lasts] + 1] |= aligned[lasts] << _ONE << (_IN_WORD - within[lasts])
    words[0] |= carry
    return words[: total // 64 + 1], total % 64
