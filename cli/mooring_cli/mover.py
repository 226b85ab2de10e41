"""`mooring mover`: what a mover Job runs. A spec file in, JSON lines and a result out.

Progress goes to standard output, one JSON object a line. The result, at most 4096 bytes of JSON,
goes to the termination message, where the operator reads it. SIGTERM stops the work cleanly.
"""

import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

import mooring
from mooring.backup import listing, mover, mover_spec, progress, upkeep
from mooring.domain import errors
from mooring.ports import blobstores
from mooring.runtime import logging as log
from mooring_cli import compose, exits, silence, stopping

MAXIMUM_MESSAGE_BYTES = 4096
_DEFAULT_SPEC = Path("/etc/mooring/mover.json")

app = typer.Typer(help="What a mover Job runs; for the operator.", no_args_is_help=True)
SpecPath = Annotated[Path, typer.Option("--spec", help="The spec file, JSON or YAML.")]


@app.command()
def probe(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Opens the repository, makes it if wanted, and tries to write."""

    def work(read: mover_spec.ProbeSpec, _: progress.Watch) -> dict[str, Any]:
        return mover.probe(read, _open_store(read), compose.surroundings())

    _run(spec, mover_spec.ProbeSpec, work)


@app.command()
def backup(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Backs a device up."""

    def work(read: mover_spec.BackupSpec, watch: progress.Watch) -> dict[str, Any]:
        store = _open_store(read)
        repository = mover.open_for(read, store, compose.surroundings())
        return mover.back_up(read, repository, watch, mooring.__version__)

    _run(spec, mover_spec.BackupSpec, work)


@app.command()
def restore(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Fills a device from a backup."""

    def work(read: mover_spec.RestoreSpec, watch: progress.Watch) -> dict[str, Any]:
        store = _open_store(read)
        repository = mover.open_for(read, store, compose.surroundings())
        return mover.restore(read, repository, watch)

    _run(spec, mover_spec.RestoreSpec, work)


@app.command()
def forget(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Removes a backup from the catalogue."""

    def work(read: mover_spec.ForgetSpec, _: progress.Watch) -> dict[str, Any]:
        store = _open_store(read)
        return mover.forget(read, mover.open_for(read, store, compose.surroundings()))

    _run(spec, mover_spec.ForgetSpec, work)


@app.command("list")
def list_backups(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Writes one page of a namespace's backups to the log."""

    def work(read: mover_spec.ListSpec, _: progress.Watch) -> dict[str, Any]:
        store = _open_store(read)
        repository = mover.open_for(read, store, compose.surroundings())
        page = listing.read_page(repository, read.namespace, read.after, read.limit)
        for entry in page.entries:
            structlog.get_logger().info(listing.EVENT, entry=entry)
        return page.summary()

    _run(spec, mover_spec.ListSpec, work)


@app.command()
def prune(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Frees what no backup needs."""

    def work(read: mover_spec.PruneSpec, watch: progress.Watch) -> dict[str, Any]:
        store = _open_store(read)
        repository = mover.open_for(read, store, compose.surroundings())
        return upkeep.collect(read, repository, watch)

    _run(spec, mover_spec.PruneSpec, work)


@app.command()
def check(spec: SpecPath = _DEFAULT_SPEC) -> None:
    """Checks that backups are whole."""

    def work(read: mover_spec.CheckSpec, watch: progress.Watch) -> dict[str, Any]:
        store = _open_store(read)
        repository = mover.open_for(read, store, compose.surroundings())
        return upkeep.check(read, repository, watch)

    _run(spec, mover_spec.CheckSpec, work)


def _run(
    path: Path,
    model: type[mover_spec.S],
    work: Callable[[mover_spec.S, progress.Watch], dict[str, Any]],
) -> None:
    log.set_up(stream=sys.stdout)
    message_path = mover_spec.MoverSpec.model_fields["termination_message_path"].default
    try:
        spec = mover_spec.read_spec(path, model)
        message_path = spec.termination_message_path
        with stopping.stoppable(lambda: _fail(message_path, stopping.cancelled())) as asked:
            result = work(spec, _watch(spec, asked))
    except errors.MooringError as error:
        _fail(message_path, error)
        raise typer.Exit(exits.exit_code(error)) from error
    except Exception as error:
        # The Job's one boundary: the operator must get an answer also when Mooring has a bug.
        structlog.get_logger().error("bug", traceback=traceback.format_exc())
        _finish(message_path, {"outcome": "Failed", "reason": "Bug", "message": repr(error)})
        raise typer.Exit(exits.BUG) from error
    _finish(message_path, {"outcome": "Succeeded", "reason": "Succeeded", "message": "", **result})


def _open_store(spec: mover_spec.MoverSpec) -> blobstores.BlobStore:
    def told(error: errors.Unreachable, is_final: bool) -> None:
        if is_final:
            silence.end_with(lambda: _fail(spec.termination_message_path, error), error)
        structlog.get_logger().warning("waiting", message=str(error))

    return compose.open_mover_store(spec.repository, told)


def _fail(message_path: Path | None, error: errors.MooringError) -> None:
    _finish(message_path, {"outcome": "Failed", "reason": error.reason, "message": str(error)})


def _watch(spec: mover_spec.MoverSpec, asked: threading.Event) -> progress.Watch:
    log = structlog.get_logger()

    def report(now: progress.Progress) -> None:
        log.info(
            "progress",
            bytesTotal=now.total,
            bytesRead=now.read,
            bytesSent=now.sent,
            bytesStored=now.stored,
            percent=now.percent,
            bytesPerSecond=now.bytes_per_second,
            secondsLeft=now.seconds_left,
        )

    return progress.Watch(
        report, asked.is_set, spec.progress_interval_seconds, spec.bytes_per_second
    )


def _finish(message_path: Path | None, result: dict[str, Any]) -> None:
    structlog.get_logger().info("result", **result)
    if message_path is None:
        return
    try:
        message_path.write_text(fit(result), encoding="utf-8")
    except OSError as error:
        # The line above has the result as well; the operator falls back to it.
        structlog.get_logger().warning("no termination message", error=error.strerror)


def fit(result: dict[str, Any]) -> str:
    """Writes a result as JSON of at most 4096 bytes: notes, then the message, are shortened."""
    shortened = dict(result)
    for limit in (2000, 500, 0):
        text = json.dumps(shortened)
        if len(text) <= MAXIMUM_MESSAGE_BYTES:
            return text
        shortened["notes"] = []
        shortened["message"] = str(shortened["message"])[:limit]
    return json.dumps({key: shortened[key] for key in ("outcome", "reason")})
