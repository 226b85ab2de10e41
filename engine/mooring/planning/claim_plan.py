"""What a VolumeClaim needs next: its claim made, adopted, placed, grown or deleted. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mooring.domain import quantities
from mooring.planning import claim_holders, claim_sources, verdicts

PLACEMENT_RETRY = timedelta(seconds=15)
LONGEST_NAME = 63
"""Characters: a label of the claim holds the name."""


@dataclass(frozen=True)
class Wish:
    """The VolumeClaim.

    Attributes:
        namespace: Its namespace.
        name: Its name, and that of its PersistentVolumeClaim.
        size_bytes: Size asked for.
        storage_class: Name of the StorageClass.
        mode: Filesystem or Block.
        placed: Whether it says where its data shall be.
        keep_data: True when deleting it leaves the claim and its data.
        deleting: Whether its deletion was asked for.
        source: What it is to be copied from; None for an empty volume.
    """

    namespace: str
    name: str
    size_bytes: int
    storage_class: str
    mode: str
    placed: bool
    keep_data: bool
    deleting: bool
    source: claim_sources.Source | None = None


@dataclass(frozen=True)
class Claim:
    """The PersistentVolumeClaim of its name.

    Attributes:
        ours: Whether it carries this VolumeClaim's label.
        owner_current: Whether it carries this VolumeClaim's uid.
        requested_bytes: Size in its spec.
        capacity_bytes: Size of the bound volume; None until bound.
        storage_class: Its StorageClass.
        mode: Its volumeMode.
        bound: Whether a volume is bound to it.
        terminating: Whether its deletion was asked for.
        lost: Whether its volume is gone.
        selected_node: The node chosen for it, by Mooring or by the scheduler of its first pod.
        placement_node: The node that its volume has to be made on; None when any will do.
        placement_set_at: When Mooring last chose the node.
        holders: The pods that have it, when that matters: it is to be deleted, or its node is gone.
        finalizers: What keeps its object.
        node: The node that its data is on, or that was chosen for it; None while there is none.
        node_state: How that node is.
        writes_wait: Why its volume is frozen for want of room; empty when it is not.
        resize_error: What last hindered its growth; empty when nothing did.
        trouble: The last warning that Kubernetes gave about it while it waits; empty without one.
    """

    ours: bool
    owner_current: bool
    requested_bytes: int
    capacity_bytes: int | None
    storage_class: str
    mode: str
    bound: bool
    terminating: bool
    lost: bool = False
    selected_node: str | None = None
    placement_node: str | None = None
    placement_set_at: datetime | None = None
    holders: Sequence[claim_holders.Holder] = ()
    finalizers: Sequence[str] = ()
    node: str | None = None
    node_state: claim_holders.NodeState = claim_holders.NodeState.READY
    writes_wait: str = ""
    resize_error: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class StorageClass:
    """The StorageClass that is asked for.

    Attributes:
        ours: Whether Mooring's driver serves it.
        expandable: Whether it lets volumes grow.
        waits_for_pod: Whether the first pod's node decides the place.
    """

    ours: bool
    expandable: bool
    waits_for_pod: bool


@dataclass(frozen=True)
class Create:
    """Make the PersistentVolumeClaim."""


@dataclass(frozen=True)
class Adopt:
    """Write this VolumeClaim's uid on the claim that an earlier one of its name left."""


@dataclass(frozen=True)
class Grow:
    """Ask for a larger volume."""

    size_bytes: int


@dataclass(frozen=True)
class Place:
    """Choose the node again; the one chosen before had no room."""


@dataclass(frozen=True)
class DeleteClaim:
    """Delete the PersistentVolumeClaim and with it the data."""


@dataclass(frozen=True)
class Release:
    """Let the VolumeClaim go; what is left stays as it is."""


Step = Create | Adopt | Grow | Place | DeleteClaim | Release


@dataclass(frozen=True)
class Plan:
    """Steps to take now, and what to say. Steps are idempotent and in order."""

    steps: tuple[Step, ...]
    verdict: verdicts.Verdict


def plan(
    wish: Wish, claim: Claim | None, storage_class: StorageClass | None, now: datetime
) -> Plan:
    """Decides what a VolumeClaim needs next."""
    if wish.deleting:
        return _plan_deletion(wish, claim)
    if storage_class is None:
        return Plan((), _missing_class(wish))
    obstacle = _obstacle(wish, claim, storage_class)
    if obstacle is not None:
        return Plan((), obstacle)
    if claim is None:
        return Plan((Create(),), verdicts.working("Creating", "its claim is being made"))
    steps: tuple[Step, ...] = () if claim.owner_current else (Adopt(),)
    if claim.bound:
        return _plan_bound(wish, claim, storage_class, steps)
    return _plan_waiting(wish, claim, storage_class, steps, now)


def _plan_deletion(wish: Wish, claim: Claim | None) -> Plan:
    if claim is None or not claim.ours or wish.keep_data:
        return Plan((Release(),), verdicts.done("Released", "the claim and its data are kept"))
    if not claim.terminating:
        return Plan(
            (DeleteClaim(),), verdicts.working("Deleting", f"claim {wish.name} is being deleted")
        )
    gone = verdicts.working("Deleting", f"waits for claim {wish.name} to go")
    return Plan((), _hold_on(wish, claim) or gone)


def _hold_on(wish: Wish, claim: Claim) -> verdicts.Verdict | None:
    return claim_holders.hold_on(wish.namespace, wish.name, claim.holders, claim.finalizers)


def _missing_class(wish: Wish) -> verdicts.Verdict:
    if wish.size_bytes <= 0:
        return verdicts.stuck("InvalidInput", "spec.size must be more than 0, for example 10Gi")
    return verdicts.stuck(
        "StorageClassNotFound",
        f"there is no StorageClass {wish.storage_class!r}; see kubectl get storageclass",
    )


def _obstacle(
    wish: Wish, claim: Claim | None, storage_class: StorageClass
) -> verdicts.Verdict | None:
    """Returns why nothing can be done, or None."""
    if len(wish.name) > LONGEST_NAME:
        return verdicts.stuck(
            "InvalidInput",
            f"metadata.name has {len(wish.name)} characters, and a label of its claim holds "
            f"{LONGEST_NAME}: make one with a shorter name",
        )
    if wish.size_bytes <= 0:
        return verdicts.stuck("InvalidInput", "spec.size must be more than 0, for example 10Gi")
    if not storage_class.ours:
        return verdicts.stuck(
            "ForeignStorageClass",
            f"StorageClass {wish.storage_class!r} is not served by Mooring's driver; choose "
            "another one",
        )
    if claim is None:
        return _source_obstacle(wish)
    if not claim.ours:
        return verdicts.stuck(
            "ClaimNotOurs",
            f"a PersistentVolumeClaim {wish.name} exists that this VolumeClaim did not make; it "
            "is left alone. Choose another name, or hand it over: kubectl label pvc "
            f"{wish.name} mooring.dev/volume-claim={wish.name}",
        )
    mismatch = _mismatch(wish, claim)
    return mismatch if mismatch is not None or claim.bound else _source_obstacle(wish)


def _source_obstacle(wish: Wish) -> verdicts.Verdict | None:
    if wish.source is None:
        return None
    return claim_sources.obstacle(wish.source, size_bytes=wish.size_bytes)


def _mismatch(wish: Wish, claim: Claim) -> verdicts.Verdict | None:
    if claim.terminating:
        hold = _hold_on(wish, claim)
        said = f"claim {wish.name} is being deleted; it is made anew then"
        if hold is None or hold.reason == "InUse":
            advice = f". {hold.message}" if hold else ""
            return verdicts.working("ClaimTerminating", said + advice)
        return verdicts.stuck(hold.reason, f"{said}. {hold.message}")
    if claim.lost:
        return verdicts.stuck(
            "VolumeLost",
            f"claim {wish.name} was bound to a volume that is gone; restore a Backup under "
            "another name, or delete the claim to begin empty",
        )
    if (claim.storage_class, claim.mode) != (wish.storage_class, wish.mode):
        return verdicts.stuck(
            "ClaimDiffers",
            f"claim {wish.name} has class {claim.storage_class!r} and mode {claim.mode}, this "
            f"asks for {wish.storage_class!r} and {wish.mode}; change this, or use another name",
        )
    if claim.requested_bytes > wish.size_bytes:
        return verdicts.stuck(
            "SizeOutOfRange",
            f"claim {wish.name} has {quantities.format_bytes(claim.requested_bytes)}, and volumes "
            f"never shrink: set spec.size to {quantities.format_bytes(claim.requested_bytes)}",
        )
    return None


def _plan_bound(
    wish: Wish, claim: Claim, storage_class: StorageClass, steps: tuple[Step, ...]
) -> Plan:
    away = claim_holders.data_away(wish.name, claim.node or "", claim.node_state, claim.holders)
    if away is not None:
        return Plan(steps, away)
    if claim.writes_wait:
        return Plan(steps, claim_holders.writes_wait(wish.name, claim.writes_wait))
    capacity = claim.capacity_bytes or 0
    if claim.requested_bytes < wish.size_bytes:
        if not storage_class.expandable:
            return Plan(
                steps,
                verdicts.stuck(
                    "ExpansionNotAllowed",
                    f"StorageClass {wish.storage_class!r} does not let volumes grow; set "
                    "allowVolumeExpansion on it",
                ),
            )
        text = f"growing from {quantities.format_bytes(capacity)} to {_size(wish)}"
        return Plan((*steps, Grow(wish.size_bytes)), verdicts.working("Growing", text))
    if capacity < wish.size_bytes:
        return Plan(
            steps,
            verdicts.working(
                "Growing",
                f"growing from {quantities.format_bytes(capacity)} to {_size(wish)}: "
                + (claim.resize_error or "the filesystem follows while a pod runs"),
            ),
        )
    return Plan(steps, verdicts.done("Bound", f"pods use it as claim {wish.name}"))


def _plan_waiting(
    wish: Wish,
    claim: Claim,
    storage_class: StorageClass,
    steps: tuple[Step, ...],
    now: datetime,
) -> Plan:
    misled = claim.placement_node is not None and claim.selected_node != claim.placement_node
    if claim.selected_node and not misled:
        trouble = f": {claim.trouble}" if claim.trouble else ""
        if claim.node_state is not claim_holders.NodeState.READY:
            trouble = f", which does not answer{trouble}"
        text = f"waits for node {claim.selected_node} to make the volume{trouble}"
        return Plan(steps, verdicts.working("Provisioning", text))
    if wish.placed or (wish.source is not None and wish.source.node is not None):
        due = claim.placement_set_at is None or now - claim.placement_set_at >= PLACEMENT_RETRY
        if due:
            text = "its node is being chosen"
            return Plan((*steps, Place()), verdicts.working("Placing", text))
        text = (
            "the node that was chosen for it could not make the volume; tried again "
            f"every {PLACEMENT_RETRY.seconds} s. "
            f"{claim.trouble or f'See kubectl describe pvc {wish.name}'}"
        )
        return Plan(steps, verdicts.working("PlacementRefused", text))
    if storage_class.waits_for_pod:
        text = (
            f"waits for the first pod that uses claim {wish.name}: its node gets the data. Start "
            "a pod, or make the claim anew with spec.placement"
        )
        return Plan(steps, verdicts.working("WaitingForFirstPod", text))
    return Plan(steps, verdicts.working("Provisioning", "waits for the volume to be made"))


def _size(wish: Wish) -> str:
    return quantities.format_bytes(wish.size_bytes)
