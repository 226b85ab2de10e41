"""What every step shares: a line that says what happens and how long it may take, and bounds."""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


class DevError(RuntimeError):
    """A step cannot go on; the message is one line for a person."""


def cache_folder() -> Path:
    """Returns the folder for all that is built once, outside the checkout."""
    if chosen := os.environ.get("MOORING_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mooring"


def say(text: str) -> None:
    """Prints one line of progress; standard output is kept for answers."""
    print(text, file=sys.stderr, flush=True)


def patient(seconds: float) -> float:
    """Returns a bound on a wait, stretched by `MOORING_DEV_PATIENCE` for a slow machine.

    Raises:
        DevError: The variable is not a number from 1.
    """
    factor = os.environ.get("MOORING_DEV_PATIENCE", "1")
    if not re.fullmatch(r"[1-9][0-9]{0,2}(\.[0-9]+)?", factor):
        raise DevError(f"MOORING_DEV_PATIENCE is a number from 1 to 999, not {factor!r}")
    return seconds * float(factor)


@contextmanager
def step(text: str, usual_seconds: float | None = None) -> Iterator[None]:
    """Says what starts and how long it may take, then how long it took."""
    expected = f" (about {_spoken(usual_seconds)})" if usual_seconds else ""
    say(f"- {text}{expected}")
    started = time.monotonic()
    yield
    taken = time.monotonic() - started
    if usual_seconds and taken >= 1:
        say(f"  {text}: {_spoken(taken)}")


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def run(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float = 60,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Runs a command to its end and returns its standard output.

    Raises:
        DevError: It failed or took longer than `timeout_seconds`; says what it printed last.
    """
    name = " ".join(str(word) for word in command[:4])
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **(environment or {})},
            cwd=folder,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=patient(timeout_seconds),
            check=False,
        )
    except FileNotFoundError as error:
        raise DevError(f"{command[0]} is not installed: run `make prerequisites`") from error
    except subprocess.TimeoutExpired as error:
        raise DevError(f"`{name} …` took longer than {patient(timeout_seconds):.0f} s") from error
    if done.returncode:
        last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
        raise DevError(f"`{name} …` failed ({done.returncode}): {last}")
    return done.stdout


@contextmanager
def locked(lock_file: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, saying so when another process has it."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"- waiting for another process that holds {lock_file}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest_of(parts: Iterable[bytes]) -> str:
    """Returns 16 hexadecimal digits that change when any part changes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]
