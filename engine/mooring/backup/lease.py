"""The lease: one object that says which collector is at work, replaced only as it was read.

It saves two collectors from doing the same work. Nothing is unsafe when both believe that they hold
it: a paused one may go on whenever it likes.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from mooring.backup import repository as repositories
from mooring.backup.format import layout
from mooring.domain import errors

EXPIRES = timedelta(minutes=15)
"""By the store's clock: a holder that was killed is in nobody's way for longer."""
_RENEWED_EVERY_SECONDS = 60.0


class Lease:
    """A lease that is held. Not thread-safe."""

    def __init__(self, repository: repositories.Repository, epoch: int, version: str) -> None:
        self._repository = repository
        self._holder = repository.surroundings.entropy(8).hex()
        self._epoch = epoch
        self._version = version
        self._renewals = 0
        self._due = time.monotonic() + _RENEWED_EVERY_SECONDS

    @classmethod
    def take(cls, repository: repositories.Repository, now: datetime) -> "Lease":
        """Takes the lease.

        Args:
            repository: Of which repository.
            now: By the store's clock.

        Raises:
            Busy: Another collector holds it.
        """
        info = repository.store.head(layout.LEASE)
        if info is None:
            lease = cls(repository, 1, "")
            try:
                repository.store.put(layout.LEASE, lease._content())
            except errors.AlreadyExists:
                raise _busy("has just begun") from None
            made = repository.store.head(layout.LEASE)
            if made is None:
                raise _busy("has taken it away")
            lease._version = made.version
            return lease
        epoch, released = _read(repository)
        age = now - info.modified_at
        if not released and age < EXPIRES:
            raise _busy(f"was seen {max(age, timedelta()).total_seconds():.0f} s ago")
        lease = cls(repository, epoch + 1, info.version)
        lease._replace()
        return lease

    def renew(self) -> None:
        """Shows a sign of life when it is time.

        Raises:
            Busy: Another collector has the lease by now.
        """
        if time.monotonic() >= self._due:
            self._renewals += 1
            self._replace()
            self._due = time.monotonic() + _RENEWED_EVERY_SECONDS

    def release(self) -> None:
        """Lets the next collector begin at once; one that took over is left alone.

        Where that fails it expires. It is no error of its own, nor in the place of one before it.
        """
        self._renewals += 1
        try:
            self._replace(released=True)
        except errors.MooringError:
            return

    def _replace(self, *, released: bool = False) -> None:
        try:
            self._version = self._repository.store.replace(
                layout.LEASE, self._content(released=released), version=self._version
            )
        except errors.PreconditionFailed:
            raise _busy("has taken over") from None

    def _content(self, *, released: bool = False) -> bytes:
        return json.dumps(
            {
                "holder": self._holder,
                "epoch": self._epoch,
                "renewals": self._renewals,
                "released": released,
            }
        ).encode()


@contextlib.contextmanager
def held(
    repository: repositories.Repository, now: datetime, *, exclusive: bool
) -> Iterator[Lease | None]:
    """Holds the lease for a while.

    Args:
        repository: Of which repository.
        now: By the store's clock.
        exclusive: Whether the caller promises that nobody else collects; a store without
            conditional writes needs that, and gives no lease.

    Raises:
        Busy: Another collector holds it.
        Unsupported: The store has no conditional writes, and nothing is promised.
        SpaceExhausted: The store is full, and nothing is promised.
    """
    taken = None
    try:
        if repository.store.conditional_writes():  # which tries to write
            taken = Lease.take(repository, now)
        elif not exclusive:
            raise errors.Unsupported(
                f"{repository.store.location} has no conditional writes, so two collections could "
                "not see each other: make sure that no other runs, and say --exclusive"
            )
    except errors.SpaceExhausted as error:
        if not exclusive:  # else it can make room
            raise errors.SpaceExhausted(
                f"{error}. Or make sure that no other collection runs, and say --exclusive: then "
                "it goes without a lease"
            ) from error
    try:
        yield taken
    finally:
        if taken is not None:
            taken.release()


def _read(repository: repositories.Repository) -> tuple[int, bool]:
    """Returns epoch and whether it is free; one that is damaged is waited for, then taken over."""
    try:
        values = json.loads(
            repository.store.get(layout.LEASE, limit_bytes=layout.MAXIMUM_LEASE_BYTES)
        )
        return int(values["epoch"]), values["released"] is True
    except (errors.NotFound, errors.DataCorrupt, KeyError, TypeError, ValueError, RecursionError):
        return 0, False


def _busy(what: str) -> errors.Busy:
    return errors.Busy(f"another garbage collection of this repository {what}: try again later")
