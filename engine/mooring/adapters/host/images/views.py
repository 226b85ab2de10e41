"""Serves an image to the process that looks into it, and hands on what that one says."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mooring.adapters.host.images import fuse_server
from mooring.domain import errors
from mooring.ports import images

_FILESYSTEMS = ("ext4", "xfs", "btrfs")
_POLL_SECONDS = 0.2
_END_TIMEOUT_SECONDS = 10.0


class KernelImageViews:
    """Looks into images by FUSE, a loop device and the kernel's own filesystems."""

    def extract(
        self,
        image: images.Image,
        filesystem: str,
        paths: Sequence[str],
        target: Path,
        stopped: Callable[[int], bool],
    ) -> images.Extracted:
        """Copies files and folders into a folder; see the port."""
        if not target.is_dir():
            raise errors.NotFound(
                f"there is no folder {target}: make it, or name another with --to"
            )
        with _Looker(image, filesystem, target, list(paths)) as looker:
            copied = 0
            for words in looker.answers():
                copied = words.get("copied", copied)
                if "done" in words:
                    done = words["done"]
                    return images.Extracted(done["files"], done["bytes"], tuple(done["notes"]))
                if stopped(copied):
                    looker.ask_to_end()
        raise looker.ended_early()

    def show(
        self, image: images.Image, filesystem: str, target: Path, stopped: Callable[[bool], bool]
    ) -> None:
        """Mounts the filesystem read-only on a folder until told; see the port."""
        _require_empty(target)
        with _Looker(image, filesystem, target, None) as looker:
            shown = busy = asked = False
            for words in looker.answers():
                if "done" in words:
                    looker.require_all_read()
                    return
                shown = shown or "shown" in words
                busy = busy or "busy" in words
                if shown and stopped(busy) and not asked:
                    asked = True
                    looker.ask_to_end()
        raise looker.ended_early()


class _Looker:
    """The other process, for the time of a block."""

    def __init__(
        self, image: images.Image, filesystem: str, target: Path, paths: list[str] | None
    ) -> None:
        if filesystem not in _FILESYSTEMS:
            raise errors.Unsupported(
                f"the backup holds {filesystem or 'no filesystem'}, and only "
                f"{', '.join(_FILESYSTEMS)} can be looked into: restore it with `mooring restore`"
            )
        self._server = fuse_server.FuseServer(image)
        request = {
            "mount": self._server.mount,
            "filesystem": filesystem,
            "target": str(target.absolute()),
            "paths": paths,
        }
        try:
            # In a session of its own, so that Ctrl-C does not take it away before it is asked.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mooring.adapters.host.images.looking", json.dumps(request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[self._server.mount],
                start_new_session=True,
            )
        except BaseException:
            self._server.close()
            raise
        finally:
            self._server.let_go()

    def __enter__(self) -> "_Looker":
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        try:
            self._process.wait(_END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        finally:
            self._server.close()  # whatever it waits for fails now
            self._process.wait()
            self._output.close()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yields what it says; often nothing, so that the caller can look around.

        Raises:
            MooringError: What it met.
        """
        rest = b""
        while True:
            readable, _, _ = select.select([self._output], [], [], _POLL_SECONDS)
            if not readable:
                yield {}
                continue
            data = os.read(self._output.fileno(), 1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                words = json.loads(line)
                if "error" in words:
                    raise self._failed(words)
                yield words

    def ask_to_end(self) -> None:
        """Asks it to end when nobody uses what is mounted."""
        try:
            os.write(self._input.fileno(), b"q")
        except BrokenPipeError:
            return

    def require_all_read(self) -> None:
        """Raises what a read met, whoever asked for it got an error."""
        if self._server.failure is not None:
            raise self._server.failure

    def ended_early(self) -> errors.MooringError:
        """Returns what to say of an end without an answer."""
        return errors.HostFailure(
            f"the process that mounts ended with code {self._process.returncode}, without an answer"
        )

    def _failed(self, words: dict[str, Any]) -> Exception:
        # What the server met is the cause of what the other process saw.
        kind = getattr(errors, words["error"], errors.HostFailure)
        if self._server.failure is not None and kind in (errors.DataCorrupt, errors.HostFailure):
            return self._server.failure
        return kind(words["message"])

    @property
    def _input(self) -> Any:
        return self._process.stdin

    @property
    def _output(self) -> Any:
        return self._process.stdout


@contextmanager
def _refusing(target: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no folder {target}: make it first") from error
    except NotADirectoryError as error:
        raise errors.InvalidInput(f"{target} is no folder") from error
    except OSError as error:
        raise errors.PreconditionFailed(
            f"cannot look into {target}: {error.strerror}; if an earlier mount died there, free it "
            f"with `umount {target}`"
        ) from error


def _require_empty(target: Path) -> None:
    with _refusing(target):
        occupied = bool(os.listdir(target))  # noqa: PTH208 - errors of the path as given
    if occupied or target.is_mount():
        raise errors.PreconditionFailed(
            f"{target} is not empty, or something is mounted on it: name an empty folder, or free "
            f"it with `umount {target}`"
        )
