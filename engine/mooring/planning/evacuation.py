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
    return pools.Evacuation(use, len(held), tuple(held[:_MOST_SHOWN]))


_WHY = {
    pools.PoolUse.EVACUATING: "it is evacuated (`evacuate` in the node's configuration)",
    pools.PoolUse.REMOVED: "it was taken out of the node's configuration",
    pools.PoolUse.FORGOTTEN: "it is under `forgetPools` in the node's configuration",
}
_END = {
    pools.PoolUse.REMOVED: "; it is let go by itself once it is empty",
    pools.PoolUse.FORGOTTEN: "; it is let go with all of it once no pod on the node uses it",
}


def message(found: pools.Evacuation) -> str:
    """Says in one sentence how it stands with an evacuation."""
    why = _WHY.get(found.use, "")
    if not found.held_count:
        return f"takes no new volumes: {why}; nothing is left in it, so it may be removed"
    end = _END.get(found.use, "")
    return f"takes no new volumes: {why}; still in it: {_counted(found)}{end}"


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
