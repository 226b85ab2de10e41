"""What a Backup needs next. Pure: one action a look, so a kill anywhere is only a later look.

Wait for claim and repository, take the snapshot, run the mover, keep its result, put everything
away. Whatever happens it ends: waiting has a deadline, the mover has retries and a deadline.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mooring.domain import errors, quantities
from mooring.planning import movers, verdicts
from mooring.planning.movers import MoverState


class Action(enum.Enum):
    """What to do now."""

    WAIT = "Wait"
    SNAPSHOT = "Snapshot"
    START = "Start"
    RERUN = "Rerun"  # delete a mover whose answer is lost; it will find its backup made
    SUCCEED = "Succeed"
    RELEASE = "Release"  # delete mover, temporary claim and volume, snapshot
    FORGET = "Forget"  # run a mover that takes the point in time out of the repository
    LET_GO = "LetGo"


@dataclass(frozen=True)
class Need:
    """Something that a backup waits for.

    Attributes:
        ready: Whether it is there.
        hopeless: Whether waiting cannot help.
        reason: One word, when it is not ready.
        message: What is missing and what to do.
    """

    ready: bool
    hopeless: bool = False
    reason: str = ""
    message: str = ""


def unmet(error: errors.MooringError) -> Need:
    """Returns what an error says is missing."""
    verdict = verdicts.of_error(error)
    return Need(False, verdict.outcome is verdicts.Outcome.STUCK, verdict.reason, verdict.message)


@dataclass(frozen=True)
class Observed:
    """A Backup and its surroundings.

    Attributes:
        created_at: When it was made.
        starting_deadline_seconds: How long it may wait before the mover starts.
        outcome: True succeeded, False failed, None under way.
        stored: Whether the repository holds it; stays true while it is being deleted.
        released: Whether everything made for it is put away.
        deleting: Whether its deletion was asked for.
        held_by: Restores and claims that read it now, as kubectl names them.
        forget_bytes: Whether its deletion takes it out of the repository too.
        source: The claim and its volume.
        repository: The repository.
        snapshot_taken: Whether the snapshot is recorded.
        preparing: What another driver is still at: the snapshot, or a device made of it.
        answered: Whether a mover that succeeded said all that a restore has to know.
        mover: Its mover.
        forgetting: The mover of `FORGET`.
        mends: Suspect Backups that are to be mended from it.
    """

    created_at: datetime
    starting_deadline_seconds: int
    outcome: bool | None
    stored: bool
    released: bool
    deleting: bool
    held_by: tuple[str, ...]
    forget_bytes: bool
    source: Need
    repository: Need
    snapshot_taken: bool
    mover: movers.Mover
    forgetting: movers.Mover
    mends: tuple[str, ...] = ()
    preparing: Need = Need(True)
    answered: bool = True


@dataclass(frozen=True)
class Decision:
    """One action, and what to say; no verdict keeps what was said before."""

    action: Action
    verdict: verdicts.Verdict | None = None


def decide(seen: Observed, now: datetime) -> Decision:
    """Decides what a Backup needs next."""
    if seen.deleting:
        return _decide_deletion(seen)
    if seen.outcome is not None:
        return Decision(Action.WAIT if seen.released else Action.RELEASE)
    if seen.mover.state is MoverState.ABSENT:
        return _decide_start(seen, now)
    return _decide_running(seen, now)


def _decide_deletion(seen: Observed) -> Decision:
    if seen.held_by:
        names = ", ".join(seen.held_by)
        return Decision(
            Action.WAIT,
            verdicts.stuck(
                "InUse",
                f"kept until {names} has read it; it goes by itself then. To stop that instead: "
                f"kubectl delete {' '.join(seen.held_by)}",
            ),
        )
    if not seen.released:
        return Decision(Action.RELEASE, verdicts.working("Deleting", "its mover is being stopped"))
    if not (seen.forget_bytes and seen.stored):
        return Decision(Action.LET_GO)
    if seen.mends:
        names = " ".join(seen.mends)
        return Decision(
            Action.WAIT,
            verdicts.stuck(
                "HeldForMending",
                f"kept because Suspect backups are to be mended from it: {names}. It goes once "
                f"they have: kubectl delete backup {names}. To delete only this object and keep "
                "its bytes set spec.deletionPolicy: Retain",
            ),
        )
    return _decide_forgetting(seen)


def _decide_forgetting(seen: Observed) -> Decision:
    if seen.forgetting.state is MoverState.SUCCEEDED:
        return Decision(Action.LET_GO)
    if seen.forgetting.state is MoverState.FAILED:
        return Decision(
            Action.WAIT,
            verdicts.stuck(
                seen.forgetting.reason or "ForgetFailed",
                f"it could not be taken out of the repository: {seen.forgetting.message}. To keep "
                "it there and delete only this object set spec.deletionPolicy: Retain",
            ),
        )
    text = "it is being taken out of the repository"
    if seen.forgetting.state is MoverState.ABSENT:
        if not seen.repository.ready:
            return Decision(
                Action.WAIT,
                verdicts.stuck(
                    seen.repository.reason,
                    f"{seen.repository.message}. To delete only this object set "
                    "spec.deletionPolicy: Retain",
                ),
            )
        return Decision(Action.FORGET, verdicts.working("Forgetting", text))
    return Decision(Action.WAIT, verdicts.working("Forgetting", text))


def _decide_start(seen: Observed, now: datetime) -> Decision:
    for need in (seen.source, seen.repository):
        if not need.ready:
            return _given_up(seen, need, now) or Decision(
                Action.WAIT, verdicts.working(need.reason, need.message)
            )
    given_up = _given_up(seen, seen.preparing, now)
    if given_up is not None:
        return given_up
    action, verdict = Action.START, verdicts.working("Starting", "the mover is being started")
    if not seen.snapshot_taken:
        action = Action.SNAPSHOT
        verdict = verdicts.working("Snapshotting", "the snapshot is being taken")
    if not seen.preparing.ready:
        verdict = verdicts.working(seen.preparing.reason, seen.preparing.message)
    return Decision(action, verdict)


def _given_up(seen: Observed, need: Need, now: datetime) -> Decision | None:
    """Ends a Backup that waits for what will not come, or did not come in time."""
    overdue = now - seen.created_at >= timedelta(seconds=seen.starting_deadline_seconds)
    if need.ready or not (need.hopeless or overdue):
        return None
    late = "" if need.hopeless else "; spec.startingDeadlineSeconds is over"
    return Decision(Action.RELEASE, verdicts.failed(need.reason, f"{need.message}{late}"))


def _decide_running(seen: Observed, now: datetime) -> Decision:
    mover = seen.mover
    pending, need = mover.state is MoverState.PENDING, seen.preparing
    if not need.ready and (need.hopeless or pending):
        if pending and mover.message:
            need = replace(need, message=f"{need.message}. Its mover waits: {mover.message}")
        return _given_up(seen, need, now) or Decision(
            Action.WAIT, verdicts.working(need.reason, need.message)
        )
    if mover.state is MoverState.SUCCEEDED and not seen.answered:
        text = "the mover's answer is lost, and it is asked again"
        return Decision(Action.RERUN, verdicts.working("AnswerLost", text))
    if mover.state is MoverState.SUCCEEDED:
        said = "; it is Suspect, see that condition" if mover.result.get("suspect") else ""
        return Decision(Action.SUCCEED, verdicts.done("Succeeded", _summary(mover) + said))
    if mover.state is MoverState.FAILED:
        return Decision(
            Action.RELEASE,
            verdicts.failed(
                mover.reason or "MoverFailed",
                f"{mover.message or 'the mover failed'}; make a new Backup when that is mended",
            ),
        )
    return Decision(Action.WAIT, running(mover, "backed up"))


def running(mover: movers.Mover, done_word: str) -> verdicts.Verdict:
    """Says how far a mover is, or what it waits for."""
    if mover.state is MoverState.LEAVING:
        return verdicts.working("Stopping", "an earlier mover is going away")
    if mover.state is MoverState.PENDING:
        why = mover.message or "the node has not started it yet"
        return verdicts.working(mover.reason or "MoverPending", f"waits for its mover: {why}")
    retries = f" after {mover.attempts} failed attempts" if mover.attempts else ""
    total = mover.progress.get("bytesTotal")
    read = mover.progress.get("bytesRead")
    if isinstance(total, int) and isinstance(read, int) and total > 0:
        text = f"{quantities.show_bytes(read)} of {quantities.show_bytes(total)} {done_word}"
    else:
        text = "the mover runs"
    return verdicts.working("Transferring", f"{text}{retries}")


def _summary(mover: movers.Mover) -> str:
    numbers = {
        name: quantities.show_bytes(value)
        for name, value in mover.result.items()
        if name.startswith("bytes") and isinstance(value, int)
    }
    words = {"bytesRead": "read", "bytesSent": "sent", "bytesStored": "stored"}
    if numbers.get("bytesScrubbed", "0 B") != "0 B":
        words = {"bytesRead": "read", "bytesScrubbed": "compared", **words}
    return ", ".join(f"{numbers.get(name, '0 B')} {word}" for name, word in words.items())
