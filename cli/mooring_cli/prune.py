"""`mooring repo prune`: drops backups by retention, and frees what nothing needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from mooring.backup import prune as pruning
from mooring.domain import errors, quantities
from mooring.planning import collection, retention
from mooring_cli import options, render

_STEP_COLUMNS = ("what", "which", "bytes", "why")
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and why.")]
Exclusive = Annotated[
    bool, typer.Option("--exclusive", help="I make sure that no other prune of it is running.")
]
TimeZone = Annotated[str, typer.Option(help="Where days begin, for example Europe/Berlin.")]
MaxRewrite = Annotated[str | None, typer.Option(help="Copy at most so much out of wasteful packs.")]
MaxDuration = Annotated[
    str | None, typer.Option(help="Begin nothing new after so long, for example 30m.")
]
DropSuspect = Annotated[
    bool,
    typer.Option("--drop-suspect", help="Let Suspect backups go that a good one has followed."),
]
Keep = Annotated[int, typer.Option(min=0, help="Keep so many; see the guide on retention.")]


def prune(  # noqa: PLR0913, PLR0917 - parameters are the command line
    repo: options.Repo,
    key_file: options.KeyFile,
    dry_run: DryRun = False,
    exclusive: Exclusive = False,
    keep_last: Keep = 0,
    keep_hourly: Keep = 0,
    keep_daily: Keep = 0,
    keep_weekly: Keep = 0,
    keep_monthly: Keep = 0,
    keep_yearly: Keep = 0,
    drop_suspect: DropSuspect = False,
    time_zone: TimeZone = "UTC",
    max_rewrite: MaxRewrite = None,
    max_duration: MaxDuration = None,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Drops backups that no --keep option keeps (without one: none), and frees unused space.

    What nothing needs is marked first, and deleted by a run at least 24 hours later.
    """
    counts = (keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    if drop_suspect and not any(counts):
        raise errors.InvalidInput("--drop-suspect needs a --keep option: say what is to be kept")
    request = pruning.PruneRequest(
        keep=retention.KeepRules(*counts) if any(counts) else None,
        zone=_zone(time_zone),
        limits=collection.CollectionLimits(
            rewrite_bytes=None if max_rewrite is None else quantities.parse_bytes(max_rewrite)
        ),
        maximum_duration=_duration(max_duration),
        dry_run=dry_run,
        exclusive=exclusive,
        drop_suspect=drop_suspect,
    )
    opened = options.open_repository(repo, key_file)
    with render.watching("pruning") as watch:
        report = pruning.prune(opened, request, watch)
    _show(report, request, output)
    _complain(report)


def _show(
    report: pruning.PruneReport, request: pruning.PruneRequest, output: options.OutputFormat
) -> None:
    if output is options.OutputFormat.JSON:
        described = _summary(report, request) | _details(report)
        render.show_with_list(described, "packs", _packs(report))
    else:
        render.show_table(_Steps(report), _STEP_COLUMNS, output)
        render.show(_summary(report, request), output)


def _summary(report: pruning.PruneReport, request: pruning.PruneRequest) -> dict[str, Any]:
    acts = report.acts
    waiting = report.count(collection.PackFate.WAIT)[1]
    return {
        "dryRun": request.dry_run,
        "backupsDropped": len(list(_dropped(report)) if request.dry_run else acts.forgotten),
        "bytesDeleted": _planned(report, request, collection.PackFate.DELETE, acts.bytes_deleted),
        "bytesMarked": _planned(report, request, collection.PackFate.DOOM, acts.bytes_doomed),
        "bytesWaiting": waiting,
        "bytesCopied": acts.bytes_copied,
        "stoppedByTime": acts.stopped,
        "problems": [
            *acts.problems,
            *acts.without_room,
            *(f"{name}: {why}" for name, why in report.harmed.items()),
        ],
    }


def _planned(
    report: pruning.PruneReport,
    request: pruning.PruneRequest,
    fate: collection.PackFate,
    done: int,
) -> int:
    return report.count(fate)[1] if request.dry_run else done


def _details(report: pruning.PruneReport) -> dict[str, Any]:
    return {
        "now": report.now.isoformat(),
        "retention": [
            {
                "volumeUid": uid,
                "backupId": verdict.point.backup_id,
                "pointInTime": verdict.point.at.isoformat(),
                "keep": verdict.keep,
                "reasons": list(verdict.reasons),
            }
            for uid, verdicts in report.verdicts.items()
            for verdict in verdicts
        ],
        "sessions": [
            {"session": step.session_id, "fate": str(step.fate), "reason": step.reason}
            for step in report.sessions
        ],
    }


def _packs(report: pruning.PruneReport) -> Iterator[dict[str, Any]]:
    """Yields the packs, of which there may be very many."""
    for step in report.packs:
        yield {
            "pack": step.name.hex(),
            "fate": str(step.fate),
            "bytes": step.size_bytes,
            "bytesNeeded": step.live_bytes,
            "reason": step.reason,
        }


@dataclass(frozen=True)
class _Steps:
    """What people want to see: everything that is not simply kept."""

    report: pruning.PruneReport

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return _steps(self.report)


def _steps(report: pruning.PruneReport) -> Iterator[dict[str, Any]]:
    for uid, verdicts in report.verdicts.items():
        for verdict in verdicts:
            what = "keep backup" if verdict.keep else "drop backup"
            which = f"{verdict.point.backup_id} ({uid})"
            yield {"what": what, "which": which, "why": "; ".join(verdict.reasons)}
    for session in report.sessions:
        if session.fate is not collection.SessionFate.COMMITTED:
            what = f"{session.fate} session"
            yield {"what": what, "which": session.session_id, "why": session.reason}
    for step in report.packs:
        if step.fate is not collection.PackFate.KEEP:
            what = f"{step.fate} pack"
            yield {
                "what": what,
                "which": step.name.hex(),
                "bytes": step.size_bytes,
                "why": step.reason,
            }


def _dropped(report: pruning.PruneReport) -> Iterator[retention.RetentionVerdict]:
    for verdicts in report.verdicts.values():
        yield from (verdict for verdict in verdicts if not verdict.keep)


def _complain(report: pruning.PruneReport) -> None:
    if report.harmed or report.acts.problems:
        raise errors.DataCorrupt(
            f"{len(report.harmed)} backups cannot be restored whole, and "
            f"{len(report.acts.problems)} packs could not be copied; the rest was done"
        )
    if report.acts.without_room:
        raise errors.SpaceExhausted(
            f"{report.acts.without_room[0]}. The rest was done, and what was freed is gone a day "
            "after the first run: prune again then"
        )


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise errors.InvalidInput(
            f"{name[:80]!r} is no time zone: write for example Europe/Berlin"
        ) from error


def _duration(text: str | None) -> timedelta | None:
    return None if text is None else quantities.parse_duration(text)
