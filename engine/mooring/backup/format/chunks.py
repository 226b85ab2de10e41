"""Chunks: what a piece of a volume, or a node of the tree, is called and how it is stored.

A stored chunk is a zstd frame when that is shorter than the chunk, and the chunk itself
otherwise; the two lengths tell which.
"""

import zstandard
from blake3 import blake3

from mooring.domain import errors

COMPRESSION_LEVEL = 1
_SAMPLE_BYTES = 4096
_WORTHWHILE = 0.97  # stored raw when compression saves less than 3 %: decompression costs too

Buffer = bytes | bytearray | memoryview


def chunk_id(id_key: bytes, data: Buffer) -> bytes:
    """Returns the id of a chunk, 32 bytes: keyed BLAKE3 of its content."""
    return blake3(data, key=id_key).digest()


class ChunkEncoder:
    """Compresses chunks. One for each thread; it remembers whether compression lately paid."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        self._sample_first = False

    def encode(self, data: memoryview) -> bytes:
        """Returns what is stored for a chunk; the length equals the chunk's if it is raw."""
        if self._sample_first and len(data) > 4 * _SAMPLE_BYTES:
            start = (len(data) - _SAMPLE_BYTES) // 2
            sample = data[start : start + _SAMPLE_BYTES]
            if len(self._zstd.compress(sample)) >= _SAMPLE_BYTES * _WORTHWHILE:
                return bytes(data)
        packed = self._zstd.compress(data)
        self._sample_first = len(packed) >= len(data) * _WORTHWHILE
        return bytes(data) if self._sample_first else packed


class ChunkDecoder:
    """Decompresses and re-hashes chunks. One for each thread."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor()

    def decode(self, stored: Buffer, raw_length: int, ident: bytes, id_key: bytes) -> bytes:
        """Returns a chunk's content, which is surely what its id was computed from.

        Raises:
            DataCorrupt: It is not.
        """
        try:
            if len(stored) == raw_length:
                data = bytes(stored)
            elif zstandard.frame_content_size(stored) != raw_length:
                raise zstandard.ZstdError("length")
            else:
                data = self._zstd.decompress(stored)
        except zstandard.ZstdError as error:
            raise errors.DataCorrupt(f"chunk {ident.hex()} cannot be decompressed") from error
        if len(data) != raw_length or chunk_id(id_key, data) != ident:
            raise errors.DataCorrupt(f"chunk {ident.hex()} is not what it was called after")
        return data
