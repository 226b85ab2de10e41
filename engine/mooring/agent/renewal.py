"""A process's present certificate, renewed at half its life while calls go on.

Until the first one is there, nothing is served or called by it, and nothing waits for it: a node
agent must serve the kubelet also when the operator is down.
"""

import threading
from collections.abc import Callable

import structlog

from mooring.agent import certificates
from mooring.domain import errors
from mooring.ports import clock as clock_port

_log = structlog.get_logger("identity")
_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 300.0

Obtain = Callable[[], certificates.Certificate]


class CurrentCertificate:
    """The newest certificate of this process; safe to use from several threads."""

    def __init__(
        self,
        obtain: Obtain,
        clock: clock_port.Clock,
        *,
        first_retry_seconds: float = _FIRST_RETRY_SECONDS,
    ) -> None:
        """Takes what obtains a certificate: a call to the operator, or an authority at hand."""
        self._obtain = obtain
        self._clock = clock
        self._first_retry_seconds = first_retry_seconds
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._present: certificates.Certificate | None = None
        self._thread = threading.Thread(target=self._run, name="certificate", daemon=True)

    def start(self) -> None:
        """Begins to obtain and renew, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the background work."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_FIRST_RETRY_SECONDS)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Waits until there is a first certificate; False when the time is over."""
        return self._ready.wait(timeout_seconds)

    @property
    def present(self) -> certificates.Certificate | None:
        """The newest certificate, or None before the first."""
        return self._present

    def renew_when_due(self) -> float:
        """Renews if half of the life is over; returns the seconds until the next look.

        Raises:
            MooringError: The certificate could not be obtained; the present one stays.
        """
        now = self._clock.now()
        if self._present is None or now >= self._present.renew_at:
            self._present = self._obtain()
            self._ready.set()
            _log.info("certificate obtained", renew_at=self._present.renew_at.isoformat())
        remaining = (self._present.renew_at - now).total_seconds()
        return min(max(remaining, _FIRST_RETRY_SECONDS), _LONGEST_WAIT_SECONDS)

    def _run(self) -> None:
        retry_seconds = self._first_retry_seconds
        while not self._stopping.is_set():
            try:
                wait_seconds = self.renew_when_due()
                retry_seconds = self._first_retry_seconds
            except errors.MooringError as error:
                _log.warning("no certificate yet", reason=error.reason, message=str(error))
                wait_seconds = retry_seconds
                retry_seconds = min(retry_seconds * 2, _LONGEST_RETRY_SECONDS)
            except Exception:  # a fault must not end the renewals for good
                _log.exception("fault while a certificate was obtained")
                wait_seconds = retry_seconds
                retry_seconds = min(retry_seconds * 2, _LONGEST_RETRY_SECONDS)
            self._stopping.wait(wait_seconds)
