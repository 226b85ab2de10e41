"""Which mount options a user may ask for. Pure.

Options come from StorageClasses and volumes that others wrote, so only known ones pass: an
option that turns off barriers loses data, and a comma inside a value would smuggle in another.
"""

import re
from collections.abc import Sequence

from mooring.domain import errors, volumes

_ANY_FILESYSTEM = frozenset(
    ("ro", "rw", "atime", "noatime", "diratime", "nodiratime", "relatime", "strictatime",
     "lazytime", "nolazytime", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async",
     "dirsync", "discard", "nodiscard")
)  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,6}\Z")
_SIZE = re.compile(r"[0-9]{1,6}[kKmM]?\Z")
_COMPRESSION = re.compile(r"(zstd(:[0-9]{1,2})?|lzo|zlib(:[0-9])?|no)\Z")

_FLAGS = {
    volumes.FilesystemType.EXT4: frozenset(("auto_da_alloc", "user_xattr", "acl", "i_version")),
    volumes.FilesystemType.XFS: frozenset(("inode64", "largeio", "swalloc", "filestreams")),
    volumes.FilesystemType.BTRFS: frozenset(("ssd", "nossd", "autodefrag", "noautodefrag")),
}
_VALUES = {
    volumes.FilesystemType.EXT4: {
        "commit": _NUMBER,
        "data": re.compile(r"(ordered|journal)\Z"),
        "errors": re.compile(r"remount-ro\Z"),  # one volume's fault must not panic the node
        "stripe": _NUMBER,
    },
    volumes.FilesystemType.XFS: {"allocsize": _SIZE, "logbufs": _NUMBER, "logbsize": _SIZE},
    volumes.FilesystemType.BTRFS: {
        "commit": _NUMBER,
        "compress": _COMPRESSION,
        "compress-force": _COMPRESSION,
    },
}


def plan(
    flags: Sequence[str], filesystem: volumes.FilesystemType, *, preallocated: bool
) -> tuple[str, ...]:
    """Turns asked-for mount flags into the options of the mount, without repetitions.

    A preallocated volume is never mounted with `discard`: it would give back its reservation.

    Raises:
        InvalidInput: A flag is not allowed for this filesystem or volume.
    """
    for number, flag in enumerate(flags, start=1):
        # Not repeated: an option's value may be sensitive, and the message reaches logs.
        if not _is_known(flag, filesystem):
            raise errors.InvalidInput(
                f"mount option number {number} is not allowed on {filesystem.value}"
            )
        if not is_allowed(flag, filesystem, preallocated=preallocated):
            raise errors.InvalidInput(
                "the mount option 'discard' would give back the space of a preallocated volume"
            )
    options = list(dict.fromkeys(flags))
    if filesystem is volumes.FilesystemType.XFS:
        options.append("nouuid")  # a clone has its source's UUID and may be mounted beside it
    if preallocated and filesystem is volumes.FilesystemType.BTRFS:
        options.append("nodiscard")  # btrfs discards by itself on devices that offer it
    return tuple(options)


def is_allowed(flag: str, filesystem: volumes.FilesystemType, *, preallocated: bool) -> bool:
    """Whether a volume may be mounted with a flag."""
    return _is_known(flag, filesystem) and not (preallocated and flag == "discard")


def _is_known(flag: str, filesystem: volumes.FilesystemType) -> bool:
    name, equals, value = flag.partition("=")
    if not equals:
        return flag in _ANY_FILESYSTEM or flag in _FLAGS[filesystem]
    pattern = _VALUES[filesystem].get(name)
    return pattern is not None and pattern.match(value) is not None
