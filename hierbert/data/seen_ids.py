"""Which ids were seen before, in few bytes an id: 80 bits of its hash.

Invariant: an id that was added is always found again; one that was not is taken for one that was
with a probability of 4e-9 in a corpus of 100 million documents.

The hashes lie in buckets that split one at a time as the table grows, so that no moment copies all
of it. Source: Litwin, "Linear Hashing: A New Tool for File and Table Addressing", VLDB 1980.
"""

import struct

_HASHES_PER_BUCKET = 24
_pack = struct.Struct("<qH").pack
_HASH_BYTES = struct.calcsize("<qH")


class SeenIds:
    """A set of ids that grows and is never asked for what it holds."""

    def __init__(self) -> None:
        self._buckets = [b""]
        self._room = _HASHES_PER_BUCKET  # how many ids more until the next bucket splits
        self._mask = 0  # of the bits that number a bucket, those of buckets not split yet included

    def add(self, text: str) -> bool:
        """Add an id, any string: whether it is new."""
        # Python's hash of a string is keyed anew in every process: no corpus can aim at it. Of two
        # strings that differ the hashes are independent, which makes two of them a longer one.
        bits = hash(text)
        key = _pack(bits, hash(text + "+") & 0xFFFF)
        buckets = self._buckets
        number = bits & self._mask
        if number >= len(buckets):
            number &= self._mask >> 1
        bucket = buckets[number]
        place = bucket.find(key)
        while place > 0 and place % _HASH_BYTES:  # the end of one hash and the start of the next
            place = bucket.find(key, place + 1)
        if place >= 0:
            return False
        buckets[number] = bucket + key
        self._room -= 1
        if not self._room:
            self._split()
        return True

    def _split(self) -> None:
        # The hashes of the next bucket in turn go to itself and a new one at the end.
        buckets = self._buckets
        if len(buckets) > self._mask:
            self._mask = self._mask << 1 | 1
        top_bit = (self._mask + 1) >> 1
        bucket = buckets[len(buckets) - top_bit]
        halves = bytearray(), bytearray()
        for bits, more in struct.iter_unpack("<qH", bucket):
            halves[bits & top_bit > 0].extend(_pack(bits, more))
        buckets[len(buckets) - top_bit], new = map(bytes, halves)
        buckets.append(new)
        self._room = _HASHES_PER_BUCKET
