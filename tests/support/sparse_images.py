"""Images of volumes whose data lies far apart."""

import random
from pathlib import Path

_HALF_BYTES = 1 << 19
_TEXT = b"some text "


def write(path: Path, size_bytes: int, data_bytes: int) -> None:
    """Writes a sparse image whose data is spread over all of it, half of it compressible."""
    dice = random.Random(1)
    pieces = data_bytes // (2 * _HALF_BYTES)
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for piece in range(pieces):
            file.seek(piece * (size_bytes // pieces))
            file.write(dice.randbytes(_HALF_BYTES) + _TEXT * (_HALF_BYTES // len(_TEXT)))
