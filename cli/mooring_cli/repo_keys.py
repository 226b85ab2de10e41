"""`mooring repo keys`: what opens a repository, added and removed without touching data."""

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from mooring.backup import key_ring, mover, repository
from mooring.backup.format import recovery_keys
from mooring.backup.format.slot_records import KeySlot, Purpose
from mooring.domain import errors
from mooring_cli import compose, key_files, options, render

app = typer.Typer(help="Show, add, rotate and remove what opens it.", no_args_is_help=True)
_COLUMNS = ("slot", "type", "purpose", "fingerprint", "createdAt", "label", "state")

Label = Annotated[str, typer.Option(help="Words that say whose it is.")]
NewKey = Annotated[
    Path | None,
    typer.Option("--new-key-file", help="Key file to add; made when there is none."),
]
RecoveryKey = Annotated[
    str | None, typer.Option(help="Public recovery key to add, as `mooring keygen` printed it.")
]
Passphrase = Annotated[
    bool, typer.Option("--passphrase", help="Add a passphrase, asked for twice without echo.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="Add the passphrase in this file; `-` is standard input.")
]
Slot = Annotated[str, typer.Argument(metavar="SLOT", help="Its id, or the beginning of it.")]
LastRecovery = Annotated[
    bool,
    typer.Option("--last-recovery", help="Also when nothing for recovery is left then."),
]
RemoveOld = Annotated[
    bool, typer.Option("--remove-old", help="Remove the key that opened it, once the new one does.")
]


@app.command("list")
def list_slots(
    repo: options.Repo,
    key_file: options.KeyFile,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Lists the key slots, and what is damaged."""
    ring = _open(repo, key_file)
    render.show_table([_row(ring, slot) for slot in ring.active()], _COLUMNS, output)
    _tell(ring)


@app.command()
def add(  # noqa: PLR0913, PLR0917 - parameters are the command line
    repo: options.Repo,
    key_file: options.KeyFile,
    new_key_file: NewKey = None,
    recovery_key: RecoveryKey = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    label: Label = "",
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Adds one key, recovery key or passphrase, and proves that it is there."""
    given = (new_key_file, recovery_key, passphrase or passphrase_file)
    if sum(bool(one) for one in given) != 1:
        raise errors.InvalidInput(
            "say what to add, one of --new-key-file, --recovery-key, --passphrase, "
            "--passphrase-file"
        )
    if recovery_key is not None:
        public = recovery_keys.parse_public(recovery_key)
        ring = _open(repo, key_file)
        slot = ring.add_recovery_key(public, label)
    elif new_key_file is not None:
        ring = _open(repo, key_file)
        slot = _add_key_file(ring, new_key_file, label)
    else:
        ring = _open(repo, key_file)
        words = key_files.new_passphrase(passphrase_file)
        slot = ring.add(words, Purpose.RECOVERY, label)
    render.show(_row(ring, slot), output)
    _tell(ring)


@app.command()
def rotate(
    repo: options.Repo,
    key_file: options.KeyFile,
    new_key_file: Annotated[
        Path, typer.Option("--new-key-file", help="The new key file; made when there is none.")
    ],
    remove_old: RemoveOld = False,
    label: Label = "",
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Puts a new key in the place of the one that opens the repository; no data is written anew."""
    ring = _open(repo, key_file)
    old = ring.opened_by
    slot = _add_key_file(ring, new_key_file, label or old.label)
    after = _open(repo, new_key_file)
    if remove_old:
        after.remove(after.find(old.slot_id), last_recovery=False)
    following = (
        "the old key opens nothing any more; put the new one where the old one was"
        if remove_old
        else "the old key still opens it. Put the new one into the Secret of every cluster that "
        f"uses it, and then: mooring repo keys remove {old.slot_id} --key-file {new_key_file}"
    )
    render.show(
        {**_row(after, slot), "old": old.slot_id, "oldRemoved": remove_old, "next": following},
        output,
    )


@app.command()
def remove(
    slot: Slot,
    repo: options.Repo,
    key_file: options.KeyFile,
    last_recovery: LastRecovery = False,
    output: options.Output = options.OutputFormat.TEXT,
) -> None:
    """Removes a slot; open the repository with a key that stays."""
    ring = _open(repo, key_file)
    found = ring.find(slot)
    ring.remove(found, last_recovery=last_recovery)
    render.show(
        {
            "removed": found.slot_id,
            "note": "who kept the old key and a copy of the repository's key slots can still open "
            "that copy; only a new repository cures that",
        },
        output,
    )


def _open(repo: str, key_file: Path) -> key_ring.KeyRing:
    store = compose.open_store(repo)
    unlock = key_files.read_unlock(key_file)
    return repository.open_key_ring(store, unlock, compose.surroundings())


def _add_key_file(ring: key_ring.KeyRing, path: Path, label: str) -> KeySlot:
    if not path.exists():
        key_files.write_new(path, secrets.token_hex(32) + "\n")
    return ring.add(mover.read_key_file(path), Purpose.CLUSTER, label)


def _row(ring: key_ring.KeyRing, slot: KeySlot) -> dict[str, Any]:
    opened = slot.slot_id == ring.opened_by.slot_id
    proven = "proven" if ring.is_proven(slot) else "not proven"
    return {
        "slot": slot.slot_id,
        "type": slot.type,
        "purpose": slot.purpose,
        "fingerprint": slot.fingerprint,
        "createdAt": slot.created_at,
        "label": slot.label or None,
        "state": "opened it now" if opened else proven,
    }


def _tell(ring: key_ring.KeyRing) -> None:
    for note in ring.notes:
        typer.echo(f"note: {note}", err=True)
    if not ring.recovery_slots():
        typer.echo(
            "note: nothing for recovery is there; a lost key file loses every backup. "
            "Add one: mooring keygen FILE, and mooring repo keys add --recovery-key KEY",
            err=True,
        )
