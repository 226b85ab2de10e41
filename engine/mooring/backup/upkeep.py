"""Keeps a repository small and known to be whole, as movers run it: a spec in, a result out."""

from datetime import timedelta
from typing import Any

from mooring.backup import inspection, mover_spec, progress, prune
from mooring.backup import repository as repositories
from mooring.domain import errors


def collect(
    spec: mover_spec.PruneSpec, repository: repositories.Repository, watch: progress.Watch
) -> dict[str, Any]:
    """Frees what no backup needs; drops no backup. Errors as for `prune.prune`.

    Returns:
        `bytesHeld`, what is there now, `bytesDeleted`, `bytesMarked` and `stoppedByTime`.

    Raises:
        DataCorrupt: Backups cannot be restored whole; the rest was done.
        SpaceExhausted: The store has no room for all of it; the rest was done.
    """
    limit = spec.maximum_duration_seconds
    request = prune.PruneRequest(
        maximum_duration=None if limit is None else timedelta(seconds=limit)
    )
    report = prune.prune(repository, request, watch)
    acts = report.acts
    if report.harmed or acts.problems:
        named = [f"{name}: {why}" for name, why in report.harmed.items()]
        raise errors.DataCorrupt(
            f"{len(report.harmed)} backups cannot be restored whole, and {len(acts.problems)} "
            f"packs could not be copied; the rest was done. First: {[*named, *acts.problems][0]}"
        )
    if acts.without_room:
        raise errors.SpaceExhausted(f"{acts.without_room[0]}. The rest was done; it frees space")
    held = sum(step.size_bytes for step in report.packs)
    return {
        "bytesHeld": max(held - acts.bytes_deleted, 0) + acts.bytes_copied,
        "bytesDeleted": acts.bytes_deleted,
        "bytesMarked": acts.bytes_doomed,
        "stoppedByTime": acts.stopped,
    }


def check(
    spec: mover_spec.CheckSpec, repository: repositories.Repository, watch: progress.Watch
) -> dict[str, Any]:
    """Checks every backup's structure, and reads a share of what they hold.

    Returns:
        `backups`, `chunks`, looked at, and `bytesRead`.

    Raises:
        DataCorrupt: Something is damaged; the message names how much, and the first of it.
    """
    share = None
    if spec.parts is not None:
        now = repository.surroundings.clock.now()
        share = inspection.Share.of_the_day(spec.parts, now)
    report = inspection.check_repository(repository, watch, share=share)
    if not report.healthy:
        raise errors.DataCorrupt(
            f"{report.problem_count} problems were found: what is damaged cannot be restored "
            f"whole, and `mooring repo repair` mends what can be. First: {report.problems[0]}"
        )
    return {
        "backups": report.backups,
        "chunks": report.chunks,
        "bytesRead": report.bytes_read,
    }
