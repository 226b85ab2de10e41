"""What a claim that a restore fills needs next. Pure: one action a look.

The order is the promise: a volume is made Filling, the mover writes and verifies, what it used is
taken away, the volume becomes Ready, and only then is there a PersistentVolume to bind. A claim is
never bound to anything less.
"""

import enum
from dataclasses import dataclass

from mooring.domain import quantities
from mooring.planning import backup_run_plan, movers, verdicts
from mooring.planning.movers import MoverState


class Action(enum.Enum):
    """What to do now."""

    WAIT = "Wait"
    CREATE_VOLUME = "CreateVolume"  # reserve the intent, make the volume Filling on its node
    START = "Start"  # temporary volume and claim, and the mover
    RECORD = "Record"  # keep the mover's word on the claim, before the mover goes
    WITHDRAW = "Withdraw"  # delete the mover, and then the temporary claim and volume
    FINISH = "Finish"  # make the volume Ready and its PersistentVolume
    TIDY = "Tidy"  # delete the mover, take the finalizer off
    ABANDON = "Abandon"  # delete mover, temporary objects and the half-filled volume
    GIVE_UP = "GiveUp"  # like ABANDON, and the finalizer too: the claim is leaving


@dataclass(frozen=True)
class Point:
    """The point in time to bring back; sizes in bytes, None when not known.

    Attributes:
        size_bytes: Size of the volume that was backed up.
        mode: Its mode; None when not known.
    """

    size_bytes: int | None
    mode: str | None


@dataclass(frozen=True)
class Observed:
    """A claim with a Mooring source.

    Attributes:
        claim: Its name.
        bound: Whether a volume is bound to it.
        deleting: Whether the claim is being deleted.
        held: Whether the claim carries our finalizer.
        size_bytes: Size that it asks for.
        mode: Its mode.
        class_is_ours: Whether its StorageClass is served by Mooring's driver.
        waits_for_pod: Whether the first pod's node decides the place.
        point: What to bring back; None when the source is not to be had.
        point_message: Why there is none.
        node: The node chosen; None before.
        repository: Whether the repository can be read.
        volume_made: Whether the volume is recorded, Filling or Ready, on its node.
        exposed: Whether the temporary claim or volume exists.
        finished: Whether the final PersistentVolume exists.
        verified: Whether it is on record that every byte is there, verified and synced.
        failure: Reason and message on record of a mover that gave up; None otherwise.
        mover: The mover.
        place: What stands in the way of the place that was asked for.
    """

    claim: str
    bound: bool
    deleting: bool
    held: bool
    size_bytes: int
    mode: str
    class_is_ours: bool
    waits_for_pod: bool
    point: Point | None
    point_message: str
    node: str | None
    repository: backup_run_plan.Need
    volume_made: bool
    exposed: bool
    finished: bool
    verified: bool
    failure: tuple[str, str] | None
    mover: movers.Mover
    place: backup_run_plan.Need

    @property
    def has_leftovers(self) -> bool:
        """Whether the mover, or what it was shown, is still there."""
        return self.exposed or self.mover.state is not MoverState.ABSENT


@dataclass(frozen=True)
class Decision:
    """One action, and what to say."""

    action: Action
    verdict: verdicts.Verdict


def decide(seen: Observed) -> Decision:
    """Decides what a claim that is being filled needs next."""
    if seen.deleting:
        word = verdicts.stuck("ClaimDeleted", f"claim {seen.claim} was deleted while it was filled")
        return Decision(Action.GIVE_UP if seen.held else Action.WAIT, word)
    if seen.bound:
        action = Action.TIDY if seen.held else Action.WAIT
        return Decision(action, verdicts.done("Succeeded", f"claim {seen.claim} is ready for pods"))
    if seen.finished:
        text = f"all bytes are verified; waits for claim {seen.claim} to be bound"
        return Decision(Action.WAIT, verdicts.working("Binding", text))
    return _decide_unfinished(seen)


def _decide_unfinished(seen: Observed) -> Decision:
    if seen.verified:
        word = verdicts.working(
            "Finishing", "all bytes are verified; the volume is being made ready"
        )
        return Decision(Action.WITHDRAW if seen.has_leftovers else Action.FINISH, word)
    if seen.failure is not None:
        return _decide_failed(seen, *seen.failure)
    if seen.mover.state in (MoverState.SUCCEEDED, MoverState.FAILED):
        return Decision(Action.RECORD, verdicts.working("Finishing", "its mover has ended"))
    return _decide_filling(seen)


def _decide_filling(seen: Observed) -> Decision:
    refusal = refuse(seen)
    if refusal is not None:
        return Decision(Action.WAIT, refusal)
    if seen.mover.state is MoverState.ABSENT:
        return _decide_start(seen)
    return Decision(Action.WAIT, backup_run_plan.running(seen.mover, "restored"))


def refuse(seen: Observed) -> verdicts.Verdict | None:
    """Returns why the claim can never be filled as it is, or None."""
    if not seen.class_is_ours:
        return verdicts.stuck(
            "ForeignStorageClass",
            f"claim {seen.claim} needs a StorageClass of Mooring's driver; make it anew with one",
        )
    if seen.point is None:
        return verdicts.stuck("SourceNotReady", seen.point_message)
    if seen.point.mode is not None and seen.point.mode != seen.mode:
        return verdicts.stuck(
            "ModeDiffers",
            f"the backup is of a {seen.point.mode} volume and claim {seen.claim} asks for "
            f"{seen.mode}; make the claim anew with volumeMode: {seen.point.mode}",
        )
    if seen.point.size_bytes is not None and seen.size_bytes < seen.point.size_bytes:
        return verdicts.stuck(
            "SizeOutOfRange",
            f"the backup needs {quantities.format_bytes(seen.point.size_bytes)} and claim "
            f"{seen.claim} asks for {quantities.format_bytes(seen.size_bytes)}; make it anew, "
            "as large or larger",
        )
    return None


def _decide_start(seen: Observed) -> Decision:
    if not seen.place.ready:
        return _waits(seen.place)
    if seen.node is None:
        text = f"waits for the first pod that uses claim {seen.claim}: its node gets the data"
        if not seen.waits_for_pod:
            text = f"waits for a node to be chosen for claim {seen.claim}"
        return Decision(
            Action.WAIT,
            verdicts.working("WaitingForFirstPod", f"{text}. Start a pod, or set a placement"),
        )
    if not seen.repository.ready:
        return _waits(seen.repository)
    if not seen.volume_made:
        text = f"a volume is being made on {seen.node}"
        return Decision(Action.CREATE_VOLUME, verdicts.working("Provisioning", text))
    return Decision(Action.START, verdicts.working("Starting", "the mover is being started"))


def _waits(need: backup_run_plan.Need) -> Decision:
    say = verdicts.stuck if need.hopeless else verdicts.working
    return Decision(Action.WAIT, say(need.reason, need.message))


def _decide_failed(seen: Observed, reason: str, message: str) -> Decision:
    word = verdicts.failed(
        reason,
        f"{message}; nothing was bound. When that is mended, delete claim {seen.claim} and "
        "restore again",
    )
    if seen.has_leftovers or seen.volume_made:
        return Decision(Action.ABANDON, word)
    return Decision(Action.WAIT, word)
