"""Bringing back a deleted volume, and giving it a PersistentVolume that a claim can bind to.

The wish goes into the catalogue; the volume's own agent carries it out. Each step can be repeated.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mooring.api import persistent_volumes
from mooring.domain import errors, ids
from mooring.ports import catalogue as catalogue_port
from mooring.ports import cluster

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class ClaimName:
    """A PersistentVolumeClaim, which need not exist yet."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Writes it as people name it."""
        return f"{self.namespace}/{self.name}"


def parse_claim(text: str) -> ClaimName:
    """Reads `namespace/name`.

    Raises:
        InvalidInput: It is not of that form.
    """
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise errors.InvalidInput(f"{text[:96]!r} is not of the form namespace/claim")
    return ClaimName(namespace, name)


def claim_of(entry: catalogue_port.CatalogueEntry) -> ClaimName | None:
    """Returns the claim that a volume was made for, as far as that is known."""
    namespace, name = (entry.spec.labels.get(key) for key in ("namespace", "claim"))
    return ClaimName(namespace, name) if namespace and name else None


class Undeletion:
    """Volumes in the trash of a cluster.

    Args:
        catalogue: Volumes of the fleet.
        wishes: The same, for the wish.
        objects: The cluster's objects.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        catalogue: catalogue_port.Catalogue,
        wishes: catalogue_port.TrashWishes,
        objects: cluster.ClusterObjects,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._catalogue = catalogue
        self._wishes = wishes
        self._objects = objects
        self._sleep = sleep

    def trashed(self) -> Sequence[catalogue_port.CatalogueEntry]:
        """Returns what is in the trash, by id."""
        return [entry for entry in self._catalogue.entries() if entry.trashed]

    def find(self, what: str) -> catalogue_port.CatalogueEntry:
        """Returns the volume that is meant: by its id, the id that it had, or its claim.

        Raises:
            NotFound: Nothing of that name is in the trash.
            InvalidInput: It is neither an id nor `namespace/claim`, or means several volumes.
        """
        if not what.startswith("vol-"):
            claim = parse_claim(what)
            return _only(what, [entry for entry in self.trashed() if claim_of(entry) == claim])
        volume_id = ids.parse_volume_id(what)
        present = self._catalogue.entry(volume_id)
        if present is not None and present.trashed:
            return present
        former = [entry for entry in self.trashed() if _former_id(entry) == volume_id]
        if not former and present is not None and not present.deletion_requested:
            return present  # brought back already, perhaps without its PersistentVolume
        return _only(what, former)

    def bring_back(
        self, entry: catalogue_port.CatalogueEntry, *, timeout_seconds: float
    ) -> catalogue_port.CatalogueEntry:
        """Records the wish and waits until the volume's agent has carried it out.

        Raises:
            NotFound: Its bytes were freed meanwhile.
            PreconditionFailed: It cannot be brought back now; the wish stays.
            Unreachable: Its node did not do it in time; the wish stays.
        """
        volume_id, left_seconds = entry.spec.volume_id, timeout_seconds
        if entry.trashed:
            self._wishes.request_undelete(volume_id)
        while True:
            present = self._catalogue.entry(volume_id)
            if present is None:
                raise errors.NotFound(f"volume {volume_id} was freed meanwhile; it is gone")
            if not present.trashed:
                return present
            if present.status is not None and present.status.condition.abnormal:
                raise errors.PreconditionFailed(
                    f"volume {volume_id} cannot be brought back yet: "
                    f"{present.status.condition.message}. It is, as soon as that has changed"
                )
            if left_seconds <= 0:
                raise errors.Unreachable(
                    f"node {entry.node} has not brought volume {volume_id} back within "
                    f"{timeout_seconds:.0f} s; it does as soon as its agent runs"
                )
            self._sleep(_POLL_SECONDS)
            left_seconds -= _POLL_SECONDS

    def expose(
        self,
        entry: catalogue_port.CatalogueEntry,
        claim: ClaimName,
        storage_class: str,
        access_mode: str,
    ) -> str:
        """Makes the PersistentVolume, reserved for a claim of that name; returns its name.

        The volume is kept when the claim is deleted. Repeating it is no error.

        Raises:
            AlreadyExists: There is one already, for another claim.
        """
        spec = entry.spec
        for present in self._objects.find(cluster.PERSISTENT_VOLUMES):
            body = present.get("spec", {})
            if body.get("csi", {}).get("volumeHandle") != spec.volume_id:
                continue
            name: str = present["metadata"]["name"]
            ref = body.get("claimRef", {})
            if (ref.get("namespace"), ref.get("name")) == (claim.namespace, claim.name):
                return name
            raise errors.AlreadyExists(
                f"volume {spec.volume_id} has PersistentVolume {name} already, for claim "
                f"{ref.get('namespace')}/{ref.get('name')}"
            )
        binding = persistent_volumes.Binding(
            name=spec.volume_id,
            claim_ref={
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace,
                "name": claim.name,
            },
            storage_class=storage_class,
            access_modes=(access_mode,),
            reclaim_policy="Retain",
        )
        self._objects.create(
            cluster.PERSISTENT_VOLUMES,
            persistent_volumes.user_volume(spec, entry.node, binding),
        )
        return binding.name

    def claim(self, name: ClaimName) -> cluster.Object | None:
        """Returns the claim, or None while there is none."""
        return self._objects.get(cluster.CLAIMS, name.name, name.namespace)


def _former_id(entry: catalogue_port.CatalogueEntry) -> ids.VolumeId | None:
    trashing = entry.status.record.trashing if entry.status else None
    return trashing.volume_id if trashing else None


def _only(
    what: str, found: Sequence[catalogue_port.CatalogueEntry]
) -> catalogue_port.CatalogueEntry:
    if not found:
        raise errors.NotFound(f"nothing of {what!r} is in the trash")
    if len(found) > 1:
        names = ", ".join(entry.spec.volume_id for entry in found)
        raise errors.InvalidInput(f"{what!r} is in the trash more than once; choose one: {names}")
    return found[0]
