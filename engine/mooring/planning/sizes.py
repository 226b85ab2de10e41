"""How large a volume becomes when somebody asks for a range of sizes. Pure."""

from dataclasses import dataclass

from mooring.domain import errors, quantities, volumes

DEFAULT_VOLUME_SIZE_BYTES = 1 << 30
_LARGEST_BYTES = (1 << 63) - volumes.SIZE_ALIGNMENT_BYTES


@dataclass(frozen=True)
class SizeRange:
    """What is asked for, in bytes; 0 leaves a bound open.

    Attributes:
        required_bytes: At least this.
        limit_bytes: At most this.
    """

    required_bytes: int = 0
    limit_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuses ranges that no size can satisfy.

        Raises:
            InvalidInput: A bound is negative.
            SizeOutOfRange: The limit is below what is required.
        """
        if self.required_bytes < 0 or self.limit_bytes < 0:
            raise errors.InvalidInput("a size cannot be negative")
        if self.limit_bytes and self.limit_bytes < self.required_bytes:
            raise errors.SizeOutOfRange(
                f"the limit {self.limit_bytes} is below the required {self.required_bytes} bytes"
            )

    def holds(self, size_bytes: int) -> bool:
        """Whether a size lies within the range."""
        return size_bytes >= self.required_bytes and (
            not self.limit_bytes or size_bytes <= self.limit_bytes
        )


def choose(asked: SizeRange, *, source_size_bytes: int = 0) -> int:
    """Chooses a new volume's size: the smallest aligned one that the range and source allow.

    Args:
        asked: The range.
        source_size_bytes: Size of what the volume is copied from; 0 without a source.

    Raises:
        SizeOutOfRange: No aligned size fits, or the volume would be smaller than its source.
    """
    if asked.required_bytes and asked.required_bytes < source_size_bytes:
        raise errors.SizeOutOfRange(
            f"{quantities.format_bytes(asked.required_bytes)} is smaller than the source, "
            f"which has {quantities.format_bytes(source_size_bytes)}"
        )
    wanted = asked.required_bytes or source_size_bytes
    if not wanted:
        limit = asked.limit_bytes or DEFAULT_VOLUME_SIZE_BYTES
        wanted = round_down(min(limit, DEFAULT_VOLUME_SIZE_BYTES))
    return _checked(max(round_up(wanted), volumes.MINIMUM_VOLUME_SIZE_BYTES), asked)


def grow(asked: SizeRange, present_bytes: int) -> int:
    """Chooses the size that an expansion leads to; the present one if that is enough.

    Raises:
        SizeOutOfRange: No aligned size fits, or the limit is below the present size.
    """
    return _checked(max(round_up(asked.required_bytes), present_bytes), asked)


def round_up(size_bytes: int) -> int:
    """Rounds up to a whole multiple of the alignment."""
    alignment = volumes.SIZE_ALIGNMENT_BYTES
    return -(-size_bytes // alignment) * alignment


def round_down(size_bytes: int) -> int:
    """Rounds down to a whole multiple of the alignment."""
    return size_bytes - size_bytes % volumes.SIZE_ALIGNMENT_BYTES


def _checked(size_bytes: int, asked: SizeRange) -> int:
    if size_bytes > _LARGEST_BYTES:
        raise errors.SizeOutOfRange(f"{size_bytes} bytes is larger than any volume can be")
    if asked.limit_bytes and size_bytes > asked.limit_bytes:
        raise errors.SizeOutOfRange(
            f"the smallest possible size is {size_bytes} bytes (whole MiB), "
            f"above the limit of {asked.limit_bytes}"
        )
    return size_bytes
