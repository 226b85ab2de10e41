"""Serves an image as the one file of a FUSE filesystem that is mounted nowhere."""

import errno
import os
import stat
import threading
from pathlib import Path

from mooring.adapters.host import syscalls
from mooring.adapters.host.images import fuse_protocol as protocol
from mooring.domain import errors
from mooring.ports import images

FILE_NAME = "mooring-backup"
_ROOT_NODE = 1
_FILE_NODE = 2
_THREADS = 8
_ROOT_MODE = stat.S_IFDIR | 0o500
_FILE_MODE = stat.S_IFREG | 0o600


class FuseServer:
    """Answers the kernel until nobody has the filesystem open any more.

    Attributes:
        failure: The first error that a read or write met; whoever asked got EIO.
    """

    def __init__(self, image: images.Image) -> None:
        """Makes the filesystem.

        Args:
            image: What is served.

        Raises:
            PermissionDenied: This is not root.
            Unsupported: This kernel has no FUSE.
        """
        self.failure: Exception | None = None
        self._image = image
        try:
            self._device = os.open(Path("/dev/fuse"), os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(error) from error
        try:
            options = {"source": "mooring", "fd": str(self._device), "rootmode": "40000"}
            options |= {"user_id": str(os.geteuid()), "group_id": str(os.getegid())}
            attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
            self.mount = syscalls.mount_detached("fuse", options, attributes=attributes)
        except OSError as error:
            os.close(self._device)
            raise _refused(error) from error
        self._threads = [
            threading.Thread(target=self._serve, name=f"mooring-fuse-{number}", daemon=True)
            for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def let_go(self) -> None:
        """Closes this process's own descriptor of the mount, once another process has it."""
        os.close(self.mount)

    def close(self) -> None:
        """Ends at once: whoever still reads gets an error."""
        os.close(self._device)

    def _serve(self) -> None:
        buffer = bytearray(protocol.MAXIMUM_BYTES + 4096)
        while True:
            try:
                length = os.readv(self._device, [buffer])
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue  # the question was taken back
                return  # ENODEV: nobody has it open any more
            request = protocol.parse(memoryview(buffer)[:length])
            if request.operation not in protocol.UNANSWERED:
                try:
                    os.writev(self._device, self._answer(request))
                except OSError:  # the question was taken back
                    continue

    def _answer(self, request: protocol.Request) -> list[bytes]:
        try:
            return protocol.answer(request.number, self._body(request))
        except OSError as error:
            return protocol.answer(request.number, error=error.errno or errno.EIO)
        except Exception as error:
            # The kernel must get an answer whatever happens; the cause is told at the end.
            self.failure = self.failure or error
            return protocol.answer(request.number, error=errno.EIO)

    def _body(self, request: protocol.Request) -> bytes:  # noqa: PLR0911 - one for each question
        match request.operation:
            case protocol.INIT:
                return protocol.initialised(request.body)
            case protocol.LOOKUP:
                if bytes(request.body).rstrip(b"\0") != FILE_NAME.encode():
                    raise OSError(errno.ENOENT, "no such file")
                return protocol.entry(_FILE_NODE, self._image.size_bytes, _FILE_MODE)
            case protocol.GETATTR:
                return self._attributes(request.node)
            case protocol.OPEN:
                return protocol.opened()
            case protocol.READ | protocol.WRITE:
                return self._moved(request)
            case protocol.STATFS:
                return protocol.usage()
            case protocol.RELEASE | protocol.FSYNC | protocol.FLUSH:
                return b""
            case _:
                raise OSError(errno.ENOSYS, "not supported")

    def _attributes(self, node: int) -> bytes:
        if node == _ROOT_NODE:
            return protocol.attributes(node, 0, _ROOT_MODE)
        return protocol.attributes(node, self._image.size_bytes, _FILE_MODE)

    def _moved(self, request: protocol.Request) -> bytes:
        if request.operation == protocol.READ:
            return self._image.read(*protocol.read_range(request.body))
        offset, data = protocol.write_range(request.body)
        self._image.write(offset, data)
        return protocol.written(len(data))


def _refused(error: OSError) -> errors.MooringError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return errors.PermissionDenied(
            "looking into a backup mounts its filesystem, which only root may do: run it as root, "
            "or restore the backup to a file with `mooring restore`"
        )
    return errors.Unsupported(
        f"this kernel has no FUSE ({error.strerror}): load its module with `modprobe fuse`, or "
        "restore the backup to a file with `mooring restore`"
    )
