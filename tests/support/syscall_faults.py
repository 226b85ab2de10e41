"""A fault at the Nth system call of an operation: a kill, or an error that the kernel returns.

The operation runs in a process forked for it, which strace follows from the moment before it
begins. Which calls it makes is read from a first run without a fault; every later run injects one
fault at one of them, by name and by number among the calls of that name.
"""

import contextlib
import multiprocessing
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

KILL = "signal=SIGKILL"
MUTATING = (
    "openat", "mkdirat", "mkdir", "rmdir", "unlinkat", "unlink", "rename", "renameat", "renameat2",
    "linkat", "write", "pwrite64", "ftruncate", "fallocate", "copy_file_range", "fsync",
    "fdatasync", "fchmod", "fchown", "chmod", "chown", "fchmodat", "fchownat", "ioctl", "mount",
    "umount2", "move_mount", "fsmount", "mount_setattr",
)  # fmt: skip
_CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>[a-z0-9_]+)\((?P<arguments>.*)$")
_CHANGES_NOTHING = re.compile(
    r"TCGETS|TIOCGWINSZ|FIOCLEX|FIONCLEX|BLKGETSIZE|BLKSSZGET|_GET_STATUS"
)
_TALKS = re.compile(r"\d+<(pipe|socket|UNIX|/dev/null)")
_TIMEOUT_SECONDS = 60.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["support.real_storage"])


@dataclass(frozen=True, order=True)
class Point:
    """One system call of an operation.

    Attributes:
        name: The call.
        number: Its number among the calls of that name in its process, from 1.
        in_child: Whether a program that the operation started makes it.
        shown: Its arguments, shortened, for people.
    """

    name: str
    number: int
    in_child: bool
    shown: str = ""

    def __str__(self) -> str:
        where = "child " if self.in_child else ""
        return f"{where}{self.name} #{self.number} ({self.shown})"


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        killed: The process died.
        error: What the operation raised, or None if it claimed success.
        pid: The process that ran it.
    """

    killed: bool
    error: str | None
    pid: int = field(default=0, compare=False)


def _operate(act: Callable[[Path], Callable[[], None]], folder: Path, pipe: Connection) -> None:
    operation = act(folder)
    pipe.send("ready")
    pipe.recv()
    try:
        operation()
    except Exception as error:
        _send(pipe, f"{type(error).__name__}: {error}")
    else:
        _send(pipe, None)


def _send(pipe: Connection, ending: str | None) -> None:
    """Sends how it ended, once more if the fault that was meant for a program struck here."""
    try:
        pipe.send(ending)
    except OSError:
        pipe.send(ending)


def run(
    act: Callable[[Path], Callable[[], None]],
    folder: Path,
    *,
    fault: tuple[Point, str] | None = None,
    log: Path | None = None,
) -> Ending:
    """Runs an operation in a process of its own.

    Args:
        act: Prepares in the new process, and returns what is done under the fault.
        folder: Passed to it.
        fault: Where, and what strace injects there (`signal=SIGKILL`, `error=EIO`).
        log: Where the calls are written to.
    """
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_operate, args=(act, folder, theirs))
    process.start()
    theirs.close()
    pid = process.pid
    assert pid is not None
    assert ours.poll(_TIMEOUT_SECONDS), "the operation did not get ready"
    ours.recv()
    with _traced(pid, fault, log):
        ours.send("go")
        error, killed = None, False
        try:
            assert ours.poll(_TIMEOUT_SECONDS), "the operation did not end"
            error = ours.recv()
        except (EOFError, ConnectionResetError):
            killed = True
        process.join(_TIMEOUT_SECONDS)
    ours.close()
    return Ending(killed, error, pid)


@contextlib.contextmanager
def _traced(pid: int, fault: tuple[Point, str] | None, log: Path | None) -> Iterator[None]:
    names = ",".join(MUTATING if fault is None else (fault[0].name,))
    argv = ["strace", "-y", "-p", str(pid), "-e", f"trace={names}", "-o", str(log or "/dev/null")]
    if fault is None or fault[0].in_child:
        argv.append("-f")
    if fault is not None:
        point, what = fault
        argv += ["-e", f"inject={point.name}:{what}:when={point.number}"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, line
        yield
        tracer.stderr.read()


def points(log: Path, own_pid: int) -> list[Point]:
    """Reads which calls an operation made, from the log of a run without a fault.

    Args:
        log: As `run` wrote it.
        own_pid: The operation's own process; the others are programs that it started.
    """
    lines = [found for found in map(_CALL.match, log.read_text().splitlines()) if found]
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, int, bool], Point] = {}
    for line in lines:
        counts[line["pid"], line["name"]] += 1
        if _is_harmless(line["name"], line["arguments"]):
            continue
        number, in_child = counts[line["pid"], line["name"]], int(line["pid"]) != own_pid
        point = Point(line["name"], number, in_child, line["arguments"][:90])
        found.setdefault((point.name, number, in_child), point)
    return list(found.values())


def _is_harmless(name: str, arguments: str) -> bool:
    """Whether a call changes nothing that outlives its process."""
    if name == "openat":
        return "O_CREAT" not in arguments
    if name == "ioctl":
        return _CHANGES_NOTHING.search(arguments) is not None
    return name == "write" and _TALKS.match(arguments) is not None
