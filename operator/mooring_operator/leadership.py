"""One active operator: a Lease of our own, because kopf's peering freezes all who are equal.

The holder renews every few seconds. When it cannot, it stops acting well before another may
begin, and a holder that lost the Lease ends its process. Two clocks are never compared: whether a
Lease is stale is judged by how long this process has seen it unchanged. Only the Lease of a
process that is known to be dead is taken at once.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from mooring.api import keys
from mooring.domain import errors
from mooring.ports import cluster

_log = structlog.get_logger("leadership")
LEASE_SECONDS = 20
_RENEW_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_STOP_SECONDS = 3.0
_SAFETY_SECONDS = 6.0
"""An act begun before the deadline may run on for this long without overlapping a successor."""


@dataclass(frozen=True)
class Holder:
    """What a process is called in the Lease.

    Attributes:
        name: No other process has it.
        dead: What the names of processes begin with that are surely dead; empty when none is
            known. A name may only begin with this if whoever bears it keeps all others from
            believing it dead for as long as it lives.
    """

    name: str
    dead: str = ""

    def outlived(self, other: str) -> bool:
        """Whether a holder is a dead process."""
        return bool(self.dead) and other.startswith(self.dead)


class Leadership:
    """The Lease, seen from one process."""

    def __init__(
        self,
        objects: cluster.ClusterObjects,
        holder: Holder,
        namespace: str = keys.NAMESPACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes what this process is called."""
        self._objects = objects
        self._holder = holder
        self._namespace = namespace
        self._monotonic = monotonic
        self._held_until = float("-inf")
        self._seen: tuple[str, float] | None = None
        self._stopping = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begins to take and renew the Lease, in the background, until stopped or lost."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether the Lease is still taken and renewed."""
        return self._thread.is_alive()

    def may_act(self) -> bool:
        """Whether this process is surely the only active one now."""
        return self._monotonic() < self._held_until

    @property
    def lost(self) -> bool:
        """Whether the Lease was held and is another's now."""
        return self._lost.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set() and not self.lost:
            renewed = False
            try:
                renewed = self.renew()
            except errors.MooringError as error:
                _log.warning("lease not renewed", reason=error.reason, message=str(error))
            except Exception:  # a fault must not end the renewals: nobody else would take over
                _log.exception("fault while the lease was renewed")
            self._stopping.wait(_RENEW_SECONDS if renewed else _RETRY_SECONDS)

    def stop(self) -> None:
        """Ends it and gives the Lease back, so that a successor need not wait."""
        self._stopping.set()
        if self.alive():
            self._thread.join(timeout=_STOP_SECONDS)
        if not self.may_act():
            return
        self._held_until = float("-inf")
        try:
            found = self._objects.get(cluster.LEASES, keys.OPERATOR_LEASE, self._namespace)
            if found is not None and _holder_of(found) == self._holder.name:
                found["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._objects.replace(cluster.LEASES, found)
        except errors.MooringError as error:
            _log.warning("lease not given back", reason=error.reason, message=str(error))

    def renew(self) -> bool:
        """Takes or renews the Lease once; True when it is held."""
        started = self._monotonic()
        found = self._objects.get(cluster.LEASES, keys.OPERATOR_LEASE, self._namespace)
        try:
            if found is None:
                self._objects.create(cluster.LEASES, self._lease())
            elif _holder_of(found) == self._holder.name or self._is_free(found):
                found["spec"] = self._spec(_spec_of(found))
                self._objects.replace(cluster.LEASES, found)
            else:
                self._not_ours(_holder_of(found))
                return False
        except (errors.AlreadyExists, errors.Busy, errors.NotFound):
            return False  # somebody was quicker
        if not self.may_act():
            _log.info("active", holder=self._holder.name)
        self._held_until = started + LEASE_SECONDS - _SAFETY_SECONDS
        return True

    def _not_ours(self, holder: str) -> None:
        if self._held_until > float("-inf"):
            _log.error("another operator took the lease", holder=holder)
            self._lost.set()
        self._held_until = float("-inf")

    def _is_free(self, lease: cluster.Object) -> bool:
        spec, holder = _spec_of(lease), _holder_of(lease)
        if not holder or self._holder.outlived(holder):
            return True
        version = str(lease["metadata"]["resourceVersion"])
        now = self._monotonic()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return False
        return now - self._seen[1] > float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

    def _lease(self) -> cluster.Object:
        return {
            "apiVersion": cluster.LEASES.api_version,
            "kind": cluster.LEASES.kind,
            "metadata": {"name": keys.OPERATOR_LEASE, "namespace": self._namespace},
            "spec": self._spec({}),
        }

    def _spec(self, previous: cluster.Object) -> cluster.Object:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = previous.get("holderIdentity") == self._holder.name
        return {
            "holderIdentity": self._holder.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": previous.get("acquireTime", moment) if same else moment,
            "renewTime": moment,
            "leaseTransitions": int(previous.get("leaseTransitions") or 0) + (0 if same else 1),
        }


def _spec_of(lease: cluster.Object) -> cluster.Object:
    """Returns what a Lease says; it may have been made by hand, and say nothing."""
    spec: cluster.Object = lease.get("spec") or {}
    return spec


def _holder_of(lease: cluster.Object) -> str:
    return str(_spec_of(lease).get("holderIdentity") or "")
