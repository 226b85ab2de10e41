"""`mooring backup`: an image file or block device into a repository."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import mooring
from mooring.backup import capture, device_facts, devices, mover, repository
from mooring.domain import backups, errors, quantities
from mooring.planning import backup_parents, scrubbing
from mooring_cli import compose, options, render

NO_PARENT = "none"
_Track = Annotated[
    Path | None,
    typer.Option(
        help="Folder on the file's own XFS or btrfs: keeps a clone of the file there, as last "
        "backed up, so that the next backup reads only what changed."
    ),
]
_Scrub = Annotated[
    str,
    typer.Option(
        help="With --track: read also what did not change, all of it once in so long, and compare "
        "it with the backup before; 0 for never."
    ),
]
_Accept = Annotated[
    bool,
    typer.Option("--accept-suspect", help="I looked at what is suspect: take it as it is now."),
]
_Rate = Annotated[str | None, typer.Option(help="Most bytes to read a second, for example 50Mi.")]


def backup(  # noqa: PLR0913, PLR0917 - parameters are the command line
    source: Annotated[Path, typer.Argument(help="Image file or block device.")],
    repo: options.Repo,
    key_file: options.KeyFile,
    name: Annotated[
        str | None,
        typer.Option(
            "--id", help="Id of the backup, made of the time by default; one that exists is shown."
        ),
    ] = None,
    parent: Annotated[
        str, typer.Option(help="Compare with this backup, the `latest`, or `none`.")
    ] = backup_parents.LATEST,
    volume: Annotated[
        str | None, typer.Option(help="Identity of the volume; its path by default.")
    ] = None,
    track: _Track = None,
    limit_rate: _Rate = None,
    scrub_period: _Scrub = "30d",
    accept_suspect: _Accept = False,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Backs up an image file or block device; nobody may write to it meanwhile.

    With --track a clone is backed up, so the file may be written to, and what was written later
    is left out. Exit code 8 says that the backup stands, but the disk seems to have lost something.
    """
    rate = _rate(limit_rate)
    opened = options.open_repository(repo, key_file)
    now = datetime.now(UTC)
    asked = capture.BackupRequest(
        backup_id=backups.parse_backup_id(name or _name(now)),
        volume=backups.VolumeFacts(_identity(source, volume), size_bytes=0),
        point_in_time=now,
        parent=None if parent == NO_PARENT else parent,
        tool_version=mooring.__version__,
        scrub=scrubbing.ScrubPolicy(quantities.parse_duration(scrub_period)),
        accept_suspect=accept_suspect,
    )
    if track is None:
        _show(_back_up(opened, source, asked, rate), output)
    else:
        _show(_back_up_tracked(opened, source, asked, (track, rate)), output)


def _show(outcome: capture.BackupOutcome, output: options.OutputFormat) -> None:
    """Shows a backup that stands.

    Raises:
        Suspect: It is.
    """
    described = mover.describe(outcome.manifest)
    suspect = described["suspect"]
    if suspect is not None and output is options.OutputFormat.TEXT:
        described["suspect"] = f"yes, in {suspect['placeCount']} places"
    render.show({**described, "existed": outcome.existed, "notes": list(outcome.notes)}, output)
    if suspect is not None:
        raise errors.Suspect(
            f"backup {outcome.manifest.backup_id} stands, but it is Suspect: {suspect['message']}. "
            f"Backup {suspect['places'][0]['good']} is kept by every prune as long as this one is. "
            "Put the place back from it, or look at it and take it as it is with --accept-suspect"
        )


def _back_up_tracked(
    opened: repository.Repository,
    source: Path,
    asked: capture.BackupRequest,
    how: tuple[Path, int | None],
) -> capture.BackupOutcome:
    folder, rate = how
    devices.VolumeSource(source).close()  # nothing is made for what cannot be read
    repository_id = opened.config.repository_id
    with compose.open_base_clones(folder, asked.volume.uid, repository_id) as clones:
        clone = clones.make(source)
        with clones.changed() as (changes, why_not):
            outcome = _back_up(opened, clone, replace(asked, changes=changes), rate)
        if not outcome.existed:  # what exists may be of another moment than the clone
            clones.keep(outcome.manifest.backup_id)
        if why_not:
            noted = (f"everything was read, because {why_not}", *outcome.notes)
            outcome = replace(outcome, notes=noted)
    return outcome


def _back_up(
    opened: repository.Repository, source: Path, asked: capture.BackupRequest, rate: int | None
) -> capture.BackupOutcome:
    with devices.VolumeSource(source) as reading:
        facts = device_facts.of(asked.volume.uid, reading)
        with render.watching("backing up", rate) as watch:
            return capture.back_up(opened, reading, replace(asked, volume=facts), watch)


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    rate = quantities.parse_bytes(text)
    if rate <= 0:
        raise errors.InvalidInput("--limit-rate is a number of bytes above 0, for example 50Mi")
    return rate


def _name(now: datetime) -> str:
    return f"{now:%Y%m%dt%H%M%Sz}-{secrets.token_hex(4)}"


def _identity(source: Path, volume: str | None) -> str:
    """Returns what stands for a source: its volume's name, or its path when nobody named one."""
    if volume is not None:
        return backups.check_volume_uid(volume)
    path = str(source.resolve())
    readable = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return f"file:{readable}"
