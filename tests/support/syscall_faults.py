"""A fault at the Nth system call of an operation: a kill, or an error that the kernel returns.

The operation runs in a process forked for it, which strace follows from the moment before it
begins. Which calls it makes is read from a first run without a fault; every later run injects one
fault at one of them, by name and by number among the calls of that name.

strace counts the calls of each process for itself, so a fault that is meant for a program would
strike the operation's own process first. At such a point strace follows that program alone.
"""

import contextlib
import multiprocessing
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from mooring.adapters.host import commands
from support import mount_namespace

KILL = "signal=SIGKILL"
MUTATING = (
    "openat", "mkdirat", "mkdir", "rmdir", "unlinkat", "unlink", "rename", "renameat", "renameat2",
    "linkat", "write", "pwrite64", "ftruncate", "fallocate", "copy_file_range", "fsync",
    "fdatasync", "fchmod", "fchown", "chmod", "chown", "fchmodat", "fchownat", "ioctl", "mount",
    "umount2", "move_mount", "fsmount", "mount_setattr",
)  # fmt: skip
_CALL = re.compile(r"^(?P<pid>\d+)<(?P<comm>[^>]*)> +(?P<name>[a-z0-9_]+)\((?P<arguments>.*)$")
_CHANGES_NOTHING = re.compile(
    r"TCGETS|TIOCGWINSZ|FIOCLEX|FIONCLEX|BLKGETSIZE|BLKSSZGET|_GET_STATUS"
)
_TALKS = re.compile(r"\d+<(pipe|socket|UNIX|/dev/null)")
_STRUCK = ("(INJECTED)", "killed by SIGKILL")
_LAUNCHER = Path(commands.DIE_WITH_US[0]).name
_COMM_CHARACTERS = 15
"""The kernel keeps so much of a program's name."""
THREAD = "thread"
_TIMEOUT_SECONDS = 60.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["support.real_storage"])


@dataclass(frozen=True, order=True)
class Point:
    """One system call of an operation.

    Attributes:
        name: The call.
        number: Its number among the calls of that name in its process or thread, from 1.
        program: The program that makes it, if the operation started one; `THREAD` for one of the
            operation's own threads; empty for its first one.
        start: Which start of that program it is, from 1.
        shown: Its arguments, shortened, for people.
    """

    name: str
    number: int
    program: str = ""
    start: int = 1
    shown: str = ""

    @property
    def in_child(self) -> bool:
        """Whether anything but the operation's first thread makes it."""
        return bool(self.program)

    @property
    def in_program(self) -> bool:
        """Whether a program makes it that the operation started."""
        return self.program not in ("", THREAD)

    def __str__(self) -> str:
        where = f"{self.program} {self.start} " if self.program else ""
        return f"{where}{self.name} #{self.number} ({self.shown})"


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        killed: The process died.
        struck: The fault was met: by the process, or by the program that it was meant for.
        error: What the operation raised, or None if it claimed success.
        pid: The process that ran it.
    """

    killed: bool
    error: str | None
    struck: bool = field(default=False, compare=False)
    pid: int = field(default=0, compare=False)


@dataclass(frozen=True)
class _Traced:
    """A program that strace follows: which start of it, and how."""

    program: str
    start: int
    tracer: tuple[str, ...]

    def install(self) -> None:
        """From now on that start of the program is followed."""
        attempt, starts = commands.attempt, Counter[str]()

        def traced(argv: Sequence[str], *, timeout_seconds: float = 120) -> commands.Outcome:
            name = Path(argv[0]).name[:_COMM_CHARACTERS]
            starts[name] += 1
            follow = name == self.program and starts[name] == self.start
            return attempt(
                [*self.tracer, *argv] if follow else argv, timeout_seconds=timeout_seconds
            )

        commands.attempt = traced


def _operate(
    act: Callable[[Path], Callable[[], None]],
    folder: Path,
    pipe: Connection,
    traced: _Traced | None,
) -> None:
    operation = act(folder)
    if traced is not None:
        traced.install()
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
        log: Where the calls are written to; with a fault, those that may have met it. Beside the
            folder where none is given.
    """
    log = log or folder.with_name("met")
    log.unlink(missing_ok=True)
    mount_namespace.enter()  # before the server of processes starts, which stays where it is
    ours, theirs = _context.Pipe()
    traced = None
    if fault is not None and fault[0].in_program:
        tracer = ("strace", "-f", "-q", *_options(fault, log), "--")
        traced = _Traced(fault[0].program, fault[0].start, tracer)
    process = _context.Process(target=_operate, args=(act, folder, theirs, traced))
    process.start()
    theirs.close()
    pid = process.pid
    assert pid is not None
    assert ours.poll(_TIMEOUT_SECONDS), "the operation did not get ready"
    ours.recv()
    attached = contextlib.nullcontext() if traced else _traced(pid, fault, log)
    with attached:
        ours.send("go")
        error, killed = None, False
        try:
            assert ours.poll(_TIMEOUT_SECONDS), "the operation did not end"
            error = ours.recv()
        except (EOFError, ConnectionResetError):
            killed = True
        process.join(_TIMEOUT_SECONDS)
    ours.close()
    met = log.read_text(errors="replace") if fault is not None and log.exists() else ""
    return Ending(killed, error, killed or any(sign in met for sign in _STRUCK), pid)


def _options(fault: tuple[Point, str] | None, log: Path) -> list[str]:
    names = ",".join(MUTATING if fault is None else (fault[0].name,))
    options = ["-y", "--decode-pids=comm", "-e", f"trace={names}", "-o", str(log)]
    if fault is not None:
        point, what = fault
        options += ["-e", f"inject={point.name}:{what}:when={point.number}"]
    return options


@contextlib.contextmanager
def _traced(pid: int, fault: tuple[Point, str] | None, log: Path) -> Iterator[None]:
    argv = ["strace", *_options(fault, log), "-p", str(pid)]
    if fault is None or fault[0].program:
        argv.append("-f")
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
    own = {line["comm"] for line in lines if int(line["pid"]) == own_pid}
    counts: Counter[tuple[str, ...]] = Counter()
    starts: dict[str, list[str]] = {}
    found: dict[tuple[str, int, str, int], Point] = {}
    for line in lines:
        pid, comm, name = line["pid"], line["comm"], line["name"]
        counts[pid, comm, name] += 1
        pids = starts.setdefault(comm, [])
        if pid not in pids:
            pids.append(pid)
        if comm == _LAUNCHER or _is_harmless(name, line["arguments"]):
            continue
        number, shown = counts[pid, comm, name], line["arguments"][:90]
        if int(pid) == own_pid:
            point = Point(name, number, shown=shown)
        elif comm in own:
            point = Point(name, number, THREAD, shown=shown)
        else:
            point = Point(name, number, comm, pids.index(pid) + 1, shown)
        found.setdefault((name, number, point.program, point.start), point)
    return list(found.values())


def _is_harmless(name: str, arguments: str) -> bool:
    """Whether a call changes nothing that outlives its process."""
    if name == "openat":
        return "O_CREAT" not in arguments
    if name == "ioctl":
        return _CHANGES_NOTHING.search(arguments) is not None
    return name == "write" and _TALKS.match(arguments) is not None
