"""Files with keys, and passphrases, as the command line reads and makes them."""

import getpass
import os
import sys
from pathlib import Path

from mooring.backup import mover
from mooring.backup.format import slots
from mooring.domain import errors

ASK = Path("-")
_SHORTEST_PASSPHRASE = 8


def read_unlock(key_file: Path) -> slots.Unlock:
    """Reads what opens a repository: a key file, a recovery key's file, or `-` for a passphrase.

    A passphrase is asked for on a terminal, and else read from standard input.

    Raises:
        NotFound: There is no such file.
        PermissionDenied: It may not be read.
        InvalidInput: It holds no key.
    """
    if key_file != ASK:
        return mover.read_key_file(key_file)
    words = getpass.getpass("passphrase: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not words:
        raise errors.InvalidInput("no passphrase was given")
    return slots.Unlock(passphrase=words)


def new_passphrase(path: Path | None) -> slots.Unlock:
    """Reads a new passphrase from a file, or asks for it twice without showing it.

    Raises:
        InvalidInput: It cannot be read, is short, or was not the same twice.
    """
    if path is not None and path != ASK:
        return read_passphrase(path)
    if not sys.stdin.isatty():
        return _checked(sys.stdin.readline().strip())
    words = _checked(getpass.getpass("new passphrase: ").strip())
    if getpass.getpass("the same again: ").strip() != words.passphrase:
        raise errors.InvalidInput("the two passphrases differ; nothing was changed")
    return words


def read_passphrase(path: Path) -> slots.Unlock:
    """Reads a passphrase from a file.

    Raises:
        InvalidInput: It cannot be read, or there is none in it.
    """
    try:
        words = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidInput(f"cannot read a passphrase from {path}") from error
    if not words:
        raise errors.InvalidInput(f"{path} is empty: it must hold a passphrase")
    return slots.Unlock(passphrase=words)


def _checked(words: str) -> slots.Unlock:
    if len(words) < _SHORTEST_PASSPHRASE:
        raise errors.InvalidInput(
            f"a passphrase has at least {_SHORTEST_PASSPHRASE} characters; nothing was changed"
        )
    return slots.Unlock(passphrase=words)


def write_new(path: Path, text: str) -> None:
    """Makes a file that only its owner may read, durably.

    Raises:
        AlreadyExists: There is one; it is left alone.
        PermissionDenied: It cannot be made.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise errors.AlreadyExists(f"{path} exists and is left alone: name another file") from error
    except OSError as error:
        raise errors.PermissionDenied(
            f"cannot make the key file {path}: {error.strerror}"
        ) from error
    with os.fdopen(file, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
