"""How long work tells how far it is, and learns that it shall stop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mooring.domain import errors
from mooring.planning import pacing

_PATIENCE_SECONDS = 0.2


@dataclass(frozen=True)
class Progress:
    """How far a backup, restore or check is. All numbers are bytes and only grow.

    Attributes:
        total: Size of the volume.
        done: How much of it is dealt with, zero ranges included; once more for each pass.
        read: Bytes read: of the volume in a backup, of the repository in a restore or check.
        sent: Backup: bytes of chunks that the repository did not have. Restore: bytes written.
        stored: Backup: bytes added to the repository.
        passes: How often the volume is gone over: twice by a restore that reads back.
        elapsed_seconds: Since the work began.
    """

    total: int
    done: int = 0
    read: int = 0
    sent: int = 0
    stored: int = 0
    passes: int = 1
    elapsed_seconds: float = 0.0

    @property
    def percent(self) -> float:
        """How much of all passes is done, 0 to 100, one decimal."""
        everything = self.total * self.passes
        return round(100.0 * self.done / everything, 1) if everything else 100.0

    @property
    def bytes_per_second(self) -> int:
        """How quickly bytes are read, over all of the time."""
        return int(self.read / self.elapsed_seconds) if self.elapsed_seconds else 0

    @property
    def seconds_left(self) -> int | None:
        """How long it still takes if it goes on as it did; None before anything is done."""
        if not self.done:
            return None
        return math.ceil(self.elapsed_seconds * (self.total * self.passes - self.done) / self.done)


def _silent(_: Progress) -> None:
    return


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """Somebody who looks on.

    Attributes:
        report: Called now and then, from one thread at a time.
        cancelled: Asked often; True ends the work with `Cancelled`.
        interval_seconds: Least time between two reports.
        bytes_per_second: Most bytes that a backup reads a second; None for as quickly as it can.
    """

    report: Callable[[Progress], None] = _silent
    cancelled: Callable[[], bool] = _never
    interval_seconds: float = 1.0
    bytes_per_second: int | None = None


def afterwards(watch: Watch, first: Progress) -> Watch:
    """Returns a watch for one more pass over a volume, which goes on where the ones before ended.

    Args:
        watch: Told of all of them.
        first: What the passes before have come to.
    """

    def report(now: Progress) -> None:
        shown = replace(
            now,
            done=first.total + now.done,
            read=first.read + now.read,
            passes=now.passes + 1,
            elapsed_seconds=first.elapsed_seconds + now.elapsed_seconds,
        )
        watch.report(shown)

    return replace(watch, report=report)


class ProgressMeter:
    """Adds up progress and reports it at the watch's interval. For one thread."""

    def __init__(self, watch: Watch, total: int, passes: int = 1) -> None:
        self.progress = Progress(total, passes=passes)
        self._watch = watch
        self._began = time.monotonic()
        self._next = 0.0
        self._pace = None
        if watch.bytes_per_second is not None:
            self._pace = pacing.Pace(watch.bytes_per_second)

    def check(self) -> None:
        """Looks whether the work shall stop.

        Raises:
            Cancelled: It shall.
        """
        if self._watch.cancelled():
            raise errors.Cancelled("it was asked to stop before it was done")

    def hold_back(self, read_bytes: int) -> None:
        """Waits as long as it takes to read so many bytes no quicker than is wanted.

        Raises:
            Cancelled: It was asked to stop meanwhile.
        """
        if self._pace is None:
            return
        now = time.monotonic()
        end = now + self._pace.wait_seconds(now, read_bytes)
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, _PATIENCE_SECONDS))

    def add(self, *, done: int = 0, read: int = 0, sent: int = 0, stored: int = 0) -> None:
        """Adds bytes, and reports when it is time."""
        now = self.progress
        self.progress = replace(
            now,
            done=now.done + done,
            read=now.read + read,
            sent=now.sent + sent,
            stored=now.stored + stored,
            elapsed_seconds=time.monotonic() - self._began,
        )
        moment = time.monotonic()
        if moment >= self._next:
            self._next = moment + self._watch.interval_seconds
            self._watch.report(self.progress)

    def finish(self) -> Progress:
        """Reports the last numbers, whatever the interval, and returns them."""
        self._watch.report(self.progress)
        return self.progress
