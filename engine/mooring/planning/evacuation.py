"""What is still in a pool that is evacuated, and what to do with each of it. Pure."""

from collections.abc import Iterable, Iterator

from mooring.domain import pools, volumes

_MOST_SHOWN = 50


def evacuation(
    use: pools.PoolUse,
    held_volumes: Iterable[volumes.VolumeRecord],
    held_snapshots: Iterable[volumes.SnapshotRecord],
) -> pools.Evacuation | None:
    """Returns how far a pool is emptied; None of one that takes new volumes."""
    if use is pools.PoolUse.OPEN:
        return None
    held = [*_volumes(held_volumes), *_snapshots(held_snapshots)]
    removed = use is pools.PoolUse.REMOVED
    return pools.Evacuation(removed, len(held), tuple(held[:_MOST_SHOWN]))


def message(found: pools.Evacuation) -> str:
    """Says in one sentence how it stands with an evacuation."""
    why = (
        "it was taken out of the node's configuration"
        if found.removed
        else "it is evacuated (`evacuate` in the node's configuration)"
    )
    if not found.held_count:
        return f"takes no new volumes: {why}; nothing is left in it, so it may be removed"
    counted = _counted(found)
    end = "; it is let go by itself once it is empty" if found.removed else ""
    return f"takes no new volumes: {why}; still in it: {counted}{end}"


def _counted(found: pools.Evacuation) -> str:
    if found.held_count > len(found.held):
        return f"{found.held_count} volumes and snapshots"
    kinds = [item.kind for item in found.held]
    words = {"Volume": "volumes", "Snapshot": "snapshots", "Trash": "in the trash"}
    return ", ".join(f"{kinds.count(kind)} {word}" for kind, word in words.items() if kind in kinds)


def _volumes(records: Iterable[volumes.VolumeRecord]) -> Iterator[pools.HeldItem]:
    ordered = sorted(records, key=lambda one: one.state is volumes.VolumeState.TRASHED)
    for record in ordered:
        volume_id = record.spec.volume_id
        if record.state is volumes.VolumeState.TRASHED and record.trashing is not None:
            expires = f"{record.trashing.expires_at:%Y-%m-%d %H:%M} UTC"
            advice = f"goes at {expires}; to have it back: kubectl mooring undelete {volume_id}"
            yield pools.HeldItem("Trash", volume_id, advice)
        else:
            yield pools.HeldItem("Volume", volume_id, _volume_advice(record))


def _volume_advice(record: volumes.VolumeRecord) -> str:
    namespace, claim = (record.spec.labels.get(key) for key in ("namespace", "claim"))
    if not (namespace and claim):
        return "back it up and restore it into another pool, then delete its PersistentVolumeClaim"
    return (
        "back it up and restore it into another pool or on another node, then: "
        f"kubectl -n {namespace} delete pvc {claim}"
    )


def _snapshots(records: Iterable[volumes.SnapshotRecord]) -> Iterator[pools.HeldItem]:
    for record in records:
        advice = f"delete its VolumeSnapshot ({record.name}), or the Backup that keeps it"
        yield pools.HeldItem("Snapshot", record.snapshot_id, advice)
