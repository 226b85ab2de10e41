"""The mount table and changes to it, each read back: an exit code alone proves nothing here."""

import errno
import os
import re
import select
import time
from collections.abc import Sequence
from pathlib import Path

from mooring.adapters.host import commands, syscalls
from mooring.domain import errors
from mooring.ports import host

_ESCAPE = re.compile(r"\\([0-7]{3})")
_READINGS = 50
_BUSY_SECONDS = 0.5
_PAUSE_SECONDS = 0.05
_CORRUPT_SIGNS = (
    "Structure needs cleaning",
    "can't read superblock",
    "bad superblock",
    "probably corrupted filesystem",
)


class KernelMounts:
    """Mounts of this process's namespace."""

    def __init__(self, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
        self._mountinfo = mountinfo

    def table(self) -> Sequence[host.Mount]:
        """Returns the mount table, in mount order.

        A table that changes while it is read is read again: before Linux 5.8 an entry is skipped
        when one above it goes meanwhile.

        Raises:
            Busy: It never stands still.
        """
        for _ in range(_READINGS):
            with self._mountinfo.open("rb") as file:
                raw = file.read()
                changes = select.poll()
                changes.register(file, select.POLLPRI)
                if changes.poll(0):
                    continue
            # Bytes that are no UTF-8 survive, so that any path can be compared.
            text = raw.decode("utf-8", "surrogateescape")
            return tuple(parse_line(line) for line in text.split("\n") if line)
        raise errors.Busy("the mount table changes faster than it can be read: try again")

    def mount(
        self, source: Path, target: Path, filesystem: str, options: Sequence[str] = ()
    ) -> None:
        """Mounts a filesystem; the caller has checked the table.

        Raises:
            DataCorrupt: The kernel says that the filesystem on the device is damaged.
            HostFailure: The kernel refused for another reason.
        """
        argv = ["mount", "-i", "-t", filesystem]
        if "ro" not in options:
            argv.append("--rw")  # else it quietly mounts read-only what the kernel refuses to write
        if options:
            argv += ["-o", ",".join(options)]
        outcome = commands.attempt([*argv, "--", str(source), str(target)])
        if outcome.exit_code == 0:
            return
        message = f"cannot mount {source} ({filesystem}) at {target}: {outcome.stderr.strip()}"
        # mount(8) names the superblock also when an option is at fault; ours are allow-listed.
        if any(sign in outcome.stderr for sign in _CORRUPT_SIGNS):
            raise errors.DataCorrupt(message)
        raise errors.HostFailure(message)

    def bind(self, source: Path, target: Path, options: Sequence[str] = ()) -> None:
        """Bind-mounts a file or folder with added options (`ro`), which hold from the first moment.

        Raises:
            HostFailure: The kernel refused.
        """
        attributes = syscalls.MOUNT_ATTR_RDONLY if "ro" in options else 0
        try:
            syscalls.bind_mount(source, target, attributes=attributes)
        except OSError as error:
            raise errors.HostFailure(f"cannot bind {source} at {target}: {error}") from error

    def unmount(self, target: Path) -> None:
        """Unmounts, and reads back that it is gone; not mounted is no error.

        Raises:
            InUse: It is busy, and stays so for a moment: a guard that is still ending the freeze
                of an asker that is gone is none that uses it.
        """
        before = self._count(target)
        if not before:
            return
        try:
            _unmount_patiently(target)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise errors.InUse(f"{target} is busy: a process still uses it") from error
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise errors.HostFailure(f"cannot unmount {target}: {error}") from error
        if self._count(target) >= before:
            raise errors.HostFailure(f"{target} is still mounted after unmounting it")

    def _count(self, target: Path) -> int:
        wanted = os.path.normpath(target)
        return sum(str(mount.target) == wanted for mount in self.table())


def _unmount_patiently(target: Path) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return syscalls.unmount(target)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def parse_line(line: str) -> host.Mount:
    r"""Reads one line of mountinfo, whose blanks are written as octal (`\040`)."""
    fields, _, rest = line.partition(" - ")
    parts = fields.split(" ")
    filesystem, source, super_options = rest.split(" ", 2)
    return host.Mount(
        target=Path(_unescaped(parts[4])),
        root=_unescaped(parts[3]),
        device=parts[2],
        filesystem=filesystem,
        options=tuple(parts[5].split(",")),
        source=_unescaped(source),
        super_options=tuple(super_options.split(",")),
    )


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), text)
