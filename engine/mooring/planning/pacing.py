"""Spreads bytes over time. Pure: whoever moves them asks how long to wait, and waits."""


class Pace:
    """So many bytes a second; nothing is saved up while nobody asks. For one thread at a time.

    Args:
        bytes_per_second: The pace.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self._bytes_per_second = bytes_per_second
        self._next = 0.0

    def wait_seconds(self, now: float, size_bytes: int) -> float:
        """Takes the turn of so many bytes.

        Args:
            now: Any clock that only goes forward.
            size_bytes: What is moved.

        Returns:
            How long to wait before they are moved.
        """
        turn = max(self._next, now)
        self._next = turn + size_bytes / self._bytes_per_second
        return turn - now
