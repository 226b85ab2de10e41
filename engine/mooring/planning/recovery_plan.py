"""How the claims of a namespace come back from its newest good backups. Pure.

A claim that exists is never touched. What an earlier run began is gone on with, so that a run can
be broken off anywhere and repeated.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mooring.domain import errors


class Action(enum.StrEnum):
    """What is done with a claim."""

    RESTORE = "restore"
    CONTINUE = "continue"  # an earlier run made its claim
    KEEP = "keep"  # somebody else's claim has that name
    REFUSE = "refuse"  # no StorageClass would serve it


@dataclass(frozen=True)
class Point:
    """A good backup of a claim.

    Attributes:
        backup: Name of the Backup.
        claim: Name of the claim that it is of.
        taken_at: The point in time.
        size_bytes: Size of the volume.
        mode: Filesystem or Block.
        storage_class: Its StorageClass then; empty when not known.
        manifests: The claim, and perhaps its VolumeClaim, as they were, by role.
    """

    backup: str
    claim: str
    taken_at: datetime
    size_bytes: int
    mode: str
    storage_class: str = ""
    manifests: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Present:
    """A claim that exists.

    Attributes:
        restore: The Restore that an earlier run made it for; empty when somebody else did.
        backup: The Backup that this run chose.
    """

    restore: str = ""
    backup: str = ""


@dataclass(frozen=True)
class Classes:
    """StorageClasses of the cluster.

    Attributes:
        ours: Those of Mooring's driver; None when they may not be read.
        renamed: What the user says: the new name of an old one.
        fallback: What takes the place of one that is missing.
    """

    ours: frozenset[str] | None
    renamed: Mapping[str, str]
    fallback: str


@dataclass(frozen=True)
class Step:
    """What is done with one claim, and why.

    Attributes:
        point: From which backup.
        action: See `Action`.
        storage_class: The class that it gets.
        restore: Name of the Restore.
        note: What is worth saying; may be empty.
    """

    point: Point
    action: Action
    storage_class: str
    restore: str
    note: str = ""


def plan(
    points: Sequence[Point],
    present: Mapping[str, Present],
    classes: Classes,
    taken_names: frozenset[str],
) -> list[Step]:
    """Decides what becomes of each claim that has a good backup, by name.

    Args:
        points: All good backups of the namespace.
        present: Claims that exist, by name.
        classes: See `Classes`.
        taken_names: Names of Restores that exist.

    Raises:
        InvalidInput: A class that the user names is not served by Mooring's driver.
    """
    for new in classes.renamed.values():
        if classes.ours is not None and new not in classes.ours:
            raise errors.InvalidInput(
                f"StorageClass {new!r} is missing or not served by Mooring's driver; see kubectl "
                "get storageclass"
            )
    newest: dict[str, Point] = {}
    by_name = {point.backup: point for point in points}
    for point in points:
        best = newest.get(point.claim)
        if best is None or (point.taken_at, point.backup) > (best.taken_at, best.backup):
            newest[point.claim] = point
    return [
        _step(by_name, newest[claim], present.get(claim), classes, taken_names)
        for claim in sorted(newest)
    ]


def _step(
    by_name: Mapping[str, Point],
    newest: Point,
    claim: Present | None,
    classes: Classes,
    taken_names: frozenset[str],
) -> Step:
    storage_class, note = _class(newest.storage_class, classes)
    if claim is not None and claim.restore:
        chosen = by_name.get(claim.backup, newest)
        return Step(chosen, Action.CONTINUE, storage_class, claim.restore)
    if claim is not None:
        text = f"a claim {newest.claim} exists and is not touched"
        return Step(newest, Action.KEEP, storage_class, "", text)
    if not storage_class:
        return Step(newest, Action.REFUSE, "", "", note)
    name = _free_name(f"recover-{newest.claim}"[:240].rstrip("-."), taken_names)
    return Step(newest, Action.RESTORE, storage_class, name, note)


def _class(name: str, classes: Classes) -> tuple[str, str]:
    if name in classes.renamed:
        return classes.renamed[name], f"StorageClass {classes.renamed[name]} instead of {name}"
    if classes.ours is None:
        return name or classes.fallback, ""
    if name in classes.ours:
        return name, ""
    missing = f"StorageClass {name or '(unknown)'} is missing"
    if classes.fallback in classes.ours:
        return classes.fallback, f"{missing}: {classes.fallback} is used"
    return "", f"{missing}: make it, or name another with --storage-class {name or 'OLD'}=NEW"


def _free_name(wanted: str, taken: frozenset[str]) -> str:
    name, number = wanted, 2
    while name in taken:  # of an earlier run, whose claim is gone
        name, number = f"{wanted}-{number}", number + 1
    return name
