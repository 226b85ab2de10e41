"""System calls that Python's standard library does not offer, each behind one typed function.

They exist here so that no other module deals in request numbers, structures or `errno`. Every
function raises OSError with the kernel's number, as the standard library's own do.
"""

import ctypes
import fcntl
import os
import struct
from pathlib import Path

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_UNSHARE_RANGE = 0x40
FIEMAP_FLAG_SYNC = 0x1
FIEMAP_EXTENT_LAST = 0x1
FIEMAP_EXTENT_UNWRITTEN = 0x800
FIEMAP_EXTENT_MERGED = 0x1000
FIEMAP_EXTENT_SHARED = 0x2000
XFS_SUPER_MAGIC = 0x58465342
MOUNT_ATTR_RDONLY = 0x1

_FICLONE = 0x40049409
_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878
_FIEMAP = 0xC020660B
_FIDEDUPERANGE = 0xC0189436
_FIEMAP_HEAD = struct.Struct("=QQLLLL")
_FIEMAP_EXTENT = struct.Struct("=QQQ16xL12x")
_DEDUPE_HEAD = struct.Struct("=QQHHL")
_DEDUPE_TARGET = struct.Struct("=qQQlL")
_STATFS_BYTES = 256
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_UMOUNT_NOFOLLOW = 0x8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_libc.fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.syscall.restype = ctypes.c_long


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def fallocate(descriptor: int, mode: int, offset_bytes: int, length_bytes: int) -> None:
    """Reserves blocks of a file, without the C library's fallback of writing zeros."""
    _checked(_libc.fallocate(descriptor, mode, offset_bytes, length_bytes), "fallocate")


def clone_file(source: int, target: int) -> None:
    """Makes the file behind `target` share all blocks of the file behind `source`."""
    fcntl.ioctl(target, _FICLONE, source)


def _control(descriptor: int, request: int, argument: bytearray, what: str) -> None:
    """Makes an `ioctl` that fills in its argument; unlike fcntl's, it lets other threads run."""
    inside = (ctypes.c_char * len(argument)).from_buffer(argument)
    _checked(_libc.ioctl(descriptor, request, ctypes.addressof(inside)), what)


def count_extents(descriptor: int) -> int:
    """Returns how many extents a file has; the kernel counts and returns none of them."""
    argument = bytearray(_FIEMAP_HEAD.pack(0, (1 << 64) - 1, 0, 0, 0, 0))
    _control(descriptor, _FIEMAP, argument, "FS_IOC_FIEMAP")
    return int(_FIEMAP_HEAD.unpack(argument)[3])


def map_extents(
    descriptor: int, offset_bytes: int, length_bytes: int, most: int, flags: int = 0
) -> list[tuple[int, int, int, int]]:
    """Returns the first extents of a range: logical offset, physical offset, length, flags."""
    head = _FIEMAP_HEAD.pack(offset_bytes, length_bytes, flags, 0, most, 0)
    argument = bytearray(head + bytes(most * _FIEMAP_EXTENT.size))
    _control(descriptor, _FIEMAP, argument, "FS_IOC_FIEMAP")
    mapped = _FIEMAP_HEAD.unpack_from(argument)[3]
    return [
        _FIEMAP_EXTENT.unpack_from(argument, _FIEMAP_HEAD.size + index * _FIEMAP_EXTENT.size)
        for index in range(mapped)
    ]


def share_if_same(
    source: int, source_offset_bytes: int, length_bytes: int, target: int, target_offset_bytes: int
) -> bool:
    """Makes a range of `target` share the blocks of `source`, if both hold the same bytes.

    The kernel compares and shares under the locks of both files. Returns whether it did.
    """
    argument = bytearray(
        _DEDUPE_HEAD.pack(source_offset_bytes, length_bytes, 1, 0, 0)
        + _DEDUPE_TARGET.pack(target, target_offset_bytes, 0, 0, 0)
    )
    _control(source, _FIDEDUPERANGE, argument, "FIDEDUPERANGE")
    _, _, done_bytes, status, _ = _DEDUPE_TARGET.unpack_from(argument, _DEDUPE_HEAD.size)
    if status < 0:
        raise OSError(-status, os.strerror(-status), "FIDEDUPERANGE")
    return bool(status == 0 and done_bytes == length_bytes)


def filesystem_magic(descriptor: int) -> int:
    """Returns the number by which the kernel tells the type of the filesystem of an open file."""
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    _checked(_libc.fstatfs(descriptor, answer), "fstatfs")
    return int(struct.unpack_from("@l", answer.raw)[0])


def write_back(descriptor: int) -> None:
    """Writes back all that is dirty in the filesystem that an open folder lies in."""
    _checked(_libc.syncfs(ctypes.c_int(descriptor)), "syncfs")


def freeze(descriptor: int) -> None:
    """Freezes the filesystem that an open folder lies in; EBUSY when it is frozen."""
    fcntl.ioctl(descriptor, _FIFREEZE, 0)


def thaw(descriptor: int) -> None:
    """Thaws the filesystem that an open folder lies in; EINVAL when it is not frozen."""
    fcntl.ioctl(descriptor, _FITHAW, 0)


def unmount(target: Path) -> None:
    """Takes away the topmost mount at a path; never lazily, never through a symbolic link."""
    _checked(_libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW), str(target))


def bind_mount(source: Path, target: Path, *, attributes: int) -> None:
    """Bind-mounts with attributes that hold from the moment the mount appears."""
    tree = _checked(
        _libc.syscall(
            ctypes.c_long(_SYS_OPEN_TREE),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_uint(_OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC),
        ),
        str(source),
    )
    try:
        if attributes:
            _set_attributes(tree, attributes)
        _checked(
            _libc.syscall(
                ctypes.c_long(_SYS_MOVE_MOUNT),
                ctypes.c_int(tree),
                ctypes.c_char_p(b""),
                ctypes.c_int(_AT_FDCWD),
                ctypes.c_char_p(os.fsencode(target)),
                ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
            ),
            str(target),
        )
    finally:
        os.close(tree)


def _set_attributes(tree: int, attributes: int) -> None:
    wanted = _MountAttributes(attr_set=attributes)
    _checked(
        _libc.syscall(
            ctypes.c_long(_SYS_MOUNT_SETATTR),
            ctypes.c_int(tree),
            ctypes.c_char_p(b""),
            ctypes.c_uint(_AT_EMPTY_PATH),
            ctypes.byref(wanted),
            ctypes.c_size_t(ctypes.sizeof(wanted)),
        ),
        "mount_setattr",
    )
