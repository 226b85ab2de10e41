"""How a volume of another CSI driver becomes a device that a mover can read. Pure.

The driver takes a snapshot of the claim, and makes a block volume of that. Each look judges how far
that is from what the API shows. Names alone prove nothing: whoever may make objects in the
namespace could have made one of the same name first, so what is read has to be, by the handles of
driver and volume, what was asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mooring.planning.backup_run_plan import Need

_READY = Need(ready=True)


@dataclass(frozen=True)
class SnapshotClass:
    """A VolumeSnapshotClass."""

    name: str
    driver: str
    is_default: bool


@dataclass(frozen=True)
class Volume:
    """The volume of a claim.

    Attributes:
        claim: Name of the claim.
        driver: Its CSI driver.
        handle: The driver's name of it.
    """

    claim: str
    driver: str
    handle: str


@dataclass(frozen=True)
class Content:
    """What a snapshot is of, as the cluster-wide object says that only its controller makes.

    Attributes:
        is_of_snapshot: Whether it is bound to this very snapshot, and not to one of its name.
        driver: The driver that holds it.
        volume_handle: The volume that it was taken of; None when somebody brought it along.
    """

    is_of_snapshot: bool
    driver: str
    volume_handle: str | None


@dataclass(frozen=True)
class Snapshot:
    """A VolumeSnapshot.

    Attributes:
        name: Its name.
        ours: Whether it has the marks of this Backup's own.
        claim: The claim that it is of; empty when it is of none.
        ready: Whether it can be read.
        error: What its driver says is wrong; empty when nothing.
        content: None before it has any.
    """

    name: str
    ours: bool
    claim: str
    ready: bool
    error: str
    content: Content | None


@dataclass(frozen=True)
class Device:
    """The claim through which a mover reads a snapshot.

    Attributes:
        name: Its name.
        ours: Whether it has the marks of this Backup's own, and is of its snapshot.
        bound: Whether it has a volume.
        lost: Whether its volume is gone.
        driver: The driver of its volume; None while that is not known.
        news: The newest warning about it; empty without one.
    """

    name: str
    ours: bool
    bound: bool
    lost: bool
    driver: str | None
    news: str


def choose_class(
    driver: str, wanted: str | None, classes: Iterable[SnapshotClass]
) -> tuple[str, Need]:
    """Chooses the VolumeSnapshotClass of a snapshot; without one, says why and what to do."""
    found = list(classes)
    own = [one for one in found if one.driver == driver]
    if wanted is not None:
        return _named(driver, wanted, found)
    defaults = [one for one in own if one.is_default]
    if len(defaults) == 1:
        return defaults[0].name, _READY
    names = ", ".join(sorted(one.name for one in defaults or own))
    if defaults:
        return "", _no_class(f"driver {driver} has several default VolumeSnapshotClasses: {names}")
    if own:
        text = f"no VolumeSnapshotClass of driver {driver} is its default; there are: {names}"
        return "", _no_class(text)
    return "", Need(
        ready=False,
        reason="NoSnapshotClass",
        message=f"driver {driver} has no VolumeSnapshotClass, without which Mooring cannot read "
        "its volumes: make one if the driver takes snapshots, or move the data to a Mooring volume",
    )


def _named(driver: str, wanted: str, classes: list[SnapshotClass]) -> tuple[str, Need]:
    named = next((one for one in classes if one.name == wanted), None)
    if named is not None and named.driver == driver:
        return wanted, _READY
    text = f"there is no VolumeSnapshotClass {wanted}"
    if named is not None:
        text = f"VolumeSnapshotClass {wanted} is of driver {named.driver}, not of {driver}"
    return "", _no_class(text)


def _no_class(text: str) -> Need:
    advice = "name one in spec.volumeSnapshotClassName, or make one of them the default"
    return Need(ready=False, reason="NoSnapshotClass", message=f"{text}; {advice}")


def judge_snapshot(volume: Volume, snapshot: Snapshot | None, namespace: str) -> Need:
    """Says whether a snapshot can be read, or may be made because there is none."""
    if snapshot is None:
        return _READY
    name = snapshot.name
    if not snapshot.ours or snapshot.claim != volume.claim:
        return _not_ours("VolumeSnapshot", name, namespace)
    content = snapshot.content
    if content is not None and (
        not content.is_of_snapshot
        or (content.driver, content.volume_handle) != (volume.driver, volume.handle)
    ):
        return Need(
            ready=False,
            hopeless=True,
            reason="SnapshotOfAnotherVolume",
            message=f"VolumeSnapshot {name} is of another volume than claim {volume.claim} has "
            "now; make a new Backup",
        )
    if content is None or not snapshot.ready:
        text = f"driver {volume.driver} has not finished its snapshot yet"
        more = f"; see kubectl -n {namespace} describe volumesnapshot {name}"
        if snapshot.error:
            more = f": {snapshot.error}"
        return Need(ready=False, reason="SnapshotNotReady", message=f"{text}{more}")
    return _READY


def judge_device(driver: str, device: Device | None, namespace: str) -> Need:
    """Says whether a mover can read a snapshot, or its device may be made."""
    if device is None:
        return _READY
    if not device.ours or (device.driver is not None and device.driver != driver):
        return _not_ours("claim", device.name, namespace)
    if device.lost:
        text = f"the block volume that driver {driver} made of its snapshot is gone"
        return Need(False, True, "DeviceLost", f"{text}; make a new Backup")
    if not device.bound:
        text = f"driver {driver} has made no block volume of its snapshot yet"
        more = f"; see kubectl -n {namespace} describe pvc {device.name}"
        if device.news:
            more = f": {device.news}. Drivers of network folders cannot make one: back up their "
            more += "files with another tool"
        return Need(ready=False, reason="DeviceNotReady", message=f"{text}{more}")
    return _READY


def _not_ours(kind: str, name: str, namespace: str) -> Need:
    plural = "volumesnapshot" if kind == "VolumeSnapshot" else "pvc"
    text = f"{kind} {name} is not the one that Mooring makes for this Backup"
    advice = f"delete it (kubectl -n {namespace} delete {plural} {name}), and make a new Backup"
    return Need(False, True, "NameTaken", f"{text}; {advice}")
