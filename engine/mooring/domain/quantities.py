"""Kubernetes quantities ("10Gi") to bytes and back, and durations ("24h")."""

import re
from datetime import timedelta
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
_DURATION = re.compile(r"([0-9]{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


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


def parse_duration(text: str) -> timedelta:
    """Parses a duration in whole units, such as `90m`, `24h`, `7d` or `0`.

    Raises:
        InvalidInput: It is none.
    """
    match = _DURATION.match(text)
    if text != "0" and match is None:
        raise errors.InvalidInput(f"duration {text[:64]!r} is not one such as '90m', '24h' or '7d'")
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
