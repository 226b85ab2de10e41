"""Requests to a bucket: repeated while that may help, with new credentials when there are some."""

import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from mooring.adapters.blobstores import object_clients, object_errors
from mooring.domain import errors
from mooring.planning import repeats

_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.5

T = TypeVar("T")


class Requests:
    """Asks one bucket. Thread-safe."""

    def __init__(self, access: object_clients.BucketAccess) -> None:
        """Makes the clients; nothing is sent. Errors as for `ClientMaker`."""
        self._location = access.location
        self._limits = access.limits
        self._maker = object_clients.ClientMaker(access)
        self._worked = False

    def ask(
        self, doing: str, action: Callable[[object_clients.Client], T], *, sends_bytes: int = 0
    ) -> T:
        """Carries out a request, several times when the store does not answer it.

        Args:
            doing: For the message: `read x`.
            action: The request; it may have been carried out when it is called again.
            sends_bytes: How much it sends.

        Raises:
            Unreachable: The store did not answer for as long as `Limits` says.
            MooringError: Its answer.
        """
        tries_seconds: list[float] = []

        def attempt() -> T:
            begun = time.monotonic()
            try:
                return self._attempt(f"cannot {doing} in {self._location}", action, sends_bytes)
            finally:
                tries_seconds.append(time.monotonic() - begun)

        def is_given_up(state: tenacity.RetryCallState) -> bool:
            return repeats.is_given_up(
                tries_seconds,
                state.idle_for,
                answer_seconds=self._limits.answer_seconds,
                patience_seconds=self._limits.patience_seconds,
            )

        repeated = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(object_errors.TryAgain),
            stop=is_given_up,
            wait=tenacity.wait_random_exponential(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS),
            reraise=True,
        )
        return repeated(attempt)

    def _attempt(
        self, doing: str, action: Callable[[object_clients.Client], T], sends_bytes: int
    ) -> T:
        while True:
            clients = self._maker.clients()
            client = clients.sending(sends_bytes)
            try:
                value = action(client)
            except object_errors.ERRORS as error:
                meaning = object_errors.translate(error, doing)
                if client is not clients.answering and object_errors.is_timeout(error):
                    meaning = self._too_slow(meaning, sends_bytes)
                if isinstance(meaning, errors.PermissionDenied) and self._renewed(clients, meaning):
                    continue
                raise meaning from error
            self._worked = True
            return value

    def _too_slow(self, meaning: errors.MooringError, size_bytes: int) -> errors.MooringError:
        least = self._limits.least_bytes_per_second / 1024
        return object_errors.TryAgain(
            f"{meaning}. Is the line slower than {least:.0f} KiB/s? {size_bytes} bytes had "
            f"{self._limits.sending_seconds(size_bytes):.0f} s"
        )

    def _renewed(self, clients: object_clients.Clients, meaning: errors.PermissionDenied) -> bool:
        """Looks for other credentials, and waits for them when those in use had worked.

        Whoever exchanges them takes the old ones away and changes the files at different times.
        """
        refused = isinstance(meaning, object_errors.CredentialsRefused)
        patience_seconds = self._limits.rotation_seconds if refused and self._worked else 0.0
        ends = time.monotonic() + patience_seconds
        while not self._maker.renew(clients):
            if not self._maker.can_change or time.monotonic() >= ends:
                return False
            time.sleep(_LOOK_SECONDS)
        return True
