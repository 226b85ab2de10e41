"""Where a repository may be, and when it has to be looked at again. Pure."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mooring.domain import errors
from mooring.planning import movers, recovery_slots, verdicts
from mooring.planning.movers import MoverState

RECHECK_READY = timedelta(hours=1)
RECHECK_FAILED = timedelta(seconds=60)
RECHECK_WITHOUT_SLOT = timedelta(minutes=10)
"""A passphrase may have been added by hand; a change of the spec is looked at at once anyway."""
PENDING_LIMIT = timedelta(seconds=10)
EVERY_NAMESPACE = "*"
_KEY_VOLUME = 'volume "key"'  # as the kubelet names it when a mount fails
_CREDENTIALS_VOLUME = 'volume "credentials"'
_REPOSITORY_VOLUME = "MountVolume"


@dataclass(frozen=True)
class FolderEntry:
    """One entry of the administrator's list.

    Attributes:
        name: What tenants write.
        path: Where it is on every node; only the node plugin opens it.
        namespaces: Who may use it; `*` is everybody.
    """

    name: str
    path: str
    namespaces: tuple[str, ...]


def parse_folders(document: Any) -> tuple[FolderEntry, ...]:
    """Reads the administrator's list.

    What is unknown is refused: `namespace` instead of `namespaces` would open a folder to all.

    Raises:
        PreconditionFailed: It is not of the documented form.
    """
    try:
        if set(document or {}) - {"folders"}:
            raise TypeError("an unknown key beside `folders`")
        return tuple(_folder_entry(entry) for entry in (document or {}).get("folders") or [])
    except (AttributeError, KeyError, TypeError) as error:
        raise errors.PreconditionFailed(
            "the list of folders in ConfigMap mooring-config of mooring-system cannot be read: "
            "each entry has a name, an absolute path, and perhaps a list of namespaces; "
            f"found was {error}"
        ) from error


def _folder_entry(entry: Any) -> FolderEntry:
    unknown = sorted(map(str, set(entry) - {"name", "path", "namespaces"}))
    if unknown:
        raise TypeError(f"an unknown key {unknown[0][:40]!r}")
    name, path = entry["name"], entry["path"]
    namespaces = entry.get("namespaces", [EVERY_NAMESPACE])
    if not isinstance(namespaces, list) or not all(isinstance(one, str) for one in namespaces):
        raise TypeError("namespaces that are no list of names")
    if not isinstance(name, str) or not isinstance(path, str):
        raise TypeError("a name or path that is no text")
    if not path.startswith("/") or ".." in path.split("/"):
        raise TypeError(f"the path {path[:80]!r}")
    return FolderEntry(name, path, tuple(namespaces))


def allowed_folder(entries: Sequence[FolderEntry], name: str, namespace: str) -> FolderEntry:
    """Returns the entry that a tenant names, if the tenant may use it.

    Raises:
        PermissionDenied: There is none of that name for that namespace. Both cases say the same,
            so that a tenant learns nothing of others' folders.
    """
    for entry in entries:
        namespaces = entry.namespaces
        if entry.name == name and (EVERY_NAMESPACE in namespaces or namespace in namespaces):
            return entry
    usable = sorted(
        entry.name
        for entry in entries
        if EVERY_NAMESPACE in entry.namespaces or namespace in entry.namespaces
    )
    known = f"it may use: {', '.join(usable)}" if usable else "no folder is open to it"
    raise errors.PermissionDenied(
        f"namespace {namespace} may not use a folder {name!r}; {known}. An administrator adds "
        "folders to ConfigMap mooring-config of mooring-system"
    )


class Action(enum.Enum):
    """What to do now."""

    WAIT = "Wait"
    PROBE = "Probe"
    CLEAR = "Clear"  # delete the probe that is over


@dataclass(frozen=True)
class Observed:
    """A repository that may be where it wants to be.

    Attributes:
        wanted: The generation that Ready has to be about.
        probed: The same of the last probe that ended; None before.
        ready: Whether that one went well.
        checked_at: When it ended.
        probe: The probe that is there now.
        probe_of: What that one looks at.
        probe_started_at: When it was made.
        key_advice: How to make the key, for when it is missing.
        recovery: What it says of recovery slots.
        lacks_slot: Whether a recovery slot was all that it lacked.
        repository_id: What probes found there first; None before.
    """

    wanted: str
    probed: str | None
    ready: bool
    checked_at: datetime | None
    probe: movers.Mover
    probe_of: str | None
    probe_started_at: datetime | None
    key_advice: str
    recovery: recovery_slots.Wish
    lacks_slot: bool = False
    repository_id: str | None = None

    @property
    def holds_another(self) -> bool:
        """Whether the probe found another repository than was there before."""
        found = self.probe.result.get("repositoryId")
        return None not in (found, self.repository_id) and found != self.repository_id


@dataclass(frozen=True)
class Decision:
    """One action; a verdict when there is something new to say.

    Attributes:
        action: What to do.
        verdict: What to say; None keeps what was said.
        concluded: Whether the probe that is there has answered.
    """

    action: Action
    verdict: verdicts.Verdict | None = None
    concluded: bool = False


def decide(seen: Observed, now: datetime) -> Decision:
    """Decides whether to look into the repository, and what its answer means."""
    state = seen.probe.state
    if state is MoverState.LEAVING:
        return Decision(Action.WAIT)
    if state is MoverState.ABSENT:
        return _decide_absent(seen, now)
    if seen.probe_of != seen.wanted:
        return Decision(Action.CLEAR)
    if state is MoverState.SUCCEEDED and not recovery_slots.is_told(seen.probe.result):
        return Decision(Action.CLEAR)  # an older mover's answer; this one's is asked for
    if state in (MoverState.SUCCEEDED, MoverState.FAILED):
        return Decision(Action.CLEAR, _conclusion(seen), concluded=True)
    return Decision(Action.WAIT, _pending(seen, now))


def _decide_absent(seen: Observed, now: datetime) -> Decision:
    fresh = seen.probed == seen.wanted and seen.checked_at is not None
    pause = RECHECK_READY if seen.ready else RECHECK_FAILED
    if seen.lacks_slot:
        pause = RECHECK_WITHOUT_SLOT
    if fresh and seen.checked_at is not None and now - seen.checked_at < pause:
        return Decision(Action.WAIT)
    if fresh:
        return Decision(Action.PROBE)
    word = verdicts.working("Checking", "the repository is being opened")
    return Decision(Action.PROBE, word)


def _conclusion(seen: Observed) -> verdicts.Verdict:
    probe = seen.probe
    if seen.holds_another:
        return verdicts.stuck(
            errors.AnotherRepository.reason,
            f"repository {probe.result['repositoryId']} is where {seen.repository_id} was, so "
            "nothing is read or written: put back what was there, or its object `config` from a "
            "copy. If it is meant, delete this BackupRepository, which removes no byte, and apply "
            "it again",
        )
    if probe.state is MoverState.SUCCEEDED:
        return recovery_slots.verdict(probe.result, seen.recovery)
    text = f"{probe.message or 'the repository cannot be opened'}; tried again every minute"
    return verdicts.stuck(probe.reason or "ProbeFailed", text)


def _pending(seen: Observed, now: datetime) -> verdicts.Verdict | None:
    started = seen.probe_started_at
    if started is None or now - started < PENDING_LIMIT:
        return None
    why = seen.probe.message or "its mover does not start"
    if _KEY_VOLUME in why:
        return verdicts.stuck("KeyMissing", seen.key_advice)
    if _CREDENTIALS_VOLUME in why:
        text = f"the Secret with its credentials cannot be mounted; is it there? {why}"
        return verdicts.stuck("CredentialsMissing", text)
    if _REPOSITORY_VOLUME in why:
        return verdicts.stuck("FolderMissing", f"its folder cannot be mounted: {why}")
    return verdicts.stuck(seen.probe.reason or "MoverPending", f"it cannot be opened yet: {why}")
