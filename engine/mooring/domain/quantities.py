"""Kubernetes quantities ("10Gi") to bytes and back."""

import re
from decimal import Decimal, InvalidOperation

from mooring.domain import errors

_SUFFIXES = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}  # fmt: skip
_QUANTITY = re.compile(
    r"([+-]?[0-9]{1,30}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,2})?)([A-Za-z]{0,2})\Z"
)
_MAXIMUM_BYTES = (1 << 63) - 1


def parse_bytes(text: str) -> int:
    """Turns a Kubernetes quantity into whole bytes, rounded up as Kubernetes does.

    Raises:
        InvalidInput: It is no quantity, or is negative or larger than 2^63 - 1.
    """
    match = _QUANTITY.match(text.strip())
    if not match or match.group(2) not in _SUFFIXES:
        raise errors.InvalidInput(f"{text[:40]!r} is no size: write for example 10Gi or 500Mi")
    try:
        value = Decimal(match.group(1)) * _SUFFIXES[match.group(2)]
    except InvalidOperation as error:
        raise errors.InvalidInput(f"{text[:40]!r} is no size") from error
    size_bytes = int(value.to_integral_value(rounding="ROUND_CEILING"))
    if not 0 <= size_bytes <= _MAXIMUM_BYTES:
        raise errors.InvalidInput(f"{text[:40]!r} is not between 0 and 2^63-1 bytes")
    return size_bytes


def format_bytes(size_bytes: int) -> str:
    """Writes bytes as the largest whole binary quantity: 1073741824 becomes `1Gi`."""
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        unit = _SUFFIXES[suffix]
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{suffix}"
    return str(size_bytes)


def show_bytes(size_bytes: int) -> str:
    """Writes bytes for people, with one decimal: `1.4 GiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
