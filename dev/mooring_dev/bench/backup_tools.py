"""The backup tools that are compared, each behind the same few commands.

Each gets its key or passphrase from a file and has its cache, if it keeps one, on the same disk.
zstd at level 1 where that can be said; restic 0.14 has one speed, which it chooses itself.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from mooring_dev.bench.timed import Timed, timed

_MOORING = """
import time
from mooring_cli import main, options
began = time.monotonic()
opened = options.open_repository
def open_repository(*words):
    global began
    found = opened(*words)
    began = time.monotonic()
    return found
options.open_repository = open_repository
try:
    main.run()
finally:
    print(time.monotonic() - began)
"""
"""`mooring`, which says at the end how long it worked after its repository was open."""


class Tool(ABC):
    """A tool with a repository of its own.

    Args:
        folder: For all that belongs to it.
        image: What is backed up.
    """

    name = ""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self.image = image
        self.repository = folder / "repository"
        self.key = folder / "key"
        folder.mkdir(parents=True)
        self.key.write_text("1f" * 32 + "\n")
        self.key.chmod(0o600)

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Returns what it wants in the environment."""

    @abstractmethod
    def make(self) -> None:
        """Makes its repository."""

    @abstractmethod
    def back_up(self) -> Timed:
        """Backs the image up."""

    @abstractmethod
    def restore(self, target: Path) -> tuple[Timed, Path]:
        """Restores the newest backup below a folder; returns the image too."""

    def run(self, *command: str, filesystem: Path | None = None) -> Timed:
        """Runs and times a command of it."""
        return timed(
            command, self.environment(), filesystem or self.folder, self.folder / "errors.log"
        )

    def stored_bytes(self) -> int:
        """Returns how large its repository is."""
        return sum(path.stat().st_size for path in self.repository.rglob("*") if path.is_file())


class Mooring(Tool):
    """`mooring backup --track`.

    Attributes:
        script: What runs a command line and says at the end how long it worked.
    """

    name = "Mooring"
    script = _MOORING

    def environment(self) -> Mapping[str, str]:
        """See `Tool`."""
        return {"MOORING_REPOSITORY": str(self.repository), "MOORING_KEY_FILE": str(self.key)}

    def make(self) -> None:
        """See `Tool`."""
        self.mooring("repo", "init")

    def back_up(self) -> Timed:
        """See `Tool`."""
        return self.mooring("backup", str(self.image), "--track", str(self.folder / "track"))

    def restore(self, target: Path) -> tuple[Timed, Path]:
        """See `Tool`."""
        listed = json.loads(self.mooring("backups", "-o", "json").output.rpartition("]")[0] + "]")
        target.mkdir()
        image = target / "image"
        newest = listed[-1]["backupId"]
        return self.mooring("restore", newest, str(image), filesystem=target), image

    def mooring(self, *words: str, filesystem: Path | None = None) -> Timed:
        """Runs and times a command line."""
        return self.run(sys.executable, "-c", self.script, *words, filesystem=filesystem)


def own_seconds(done: Timed) -> float:
    """Returns how long `mooring` worked after its repository was open."""
    return float(done.output.splitlines()[-1])


class Restic(Tool):
    """Debian's restic."""

    name = "restic"

    def environment(self) -> Mapping[str, str]:
        """See `Tool`."""
        return {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD_FILE": str(self.key),
            "RESTIC_CACHE_DIR": str(self.folder / "cache"),
        }

    def make(self) -> None:
        """See `Tool`."""
        self.run("restic", "init", "-q", "--repository-version", "2")

    def back_up(self) -> Timed:
        """See `Tool`."""
        return self.run("restic", "backup", "-q", str(self.image))

    def restore(self, target: Path) -> tuple[Timed, Path]:
        """See `Tool`."""
        target.mkdir()
        done = self.run("restic", "restore", "-q", "latest", "--target", str(target),
                        filesystem=target)  # fmt: skip
        return done, target / self.image.relative_to("/")


class Borg(Tool):
    """Debian's borg, with chunks of a fixed size."""

    name = "borg"

    def __init__(self, folder: Path, image: Path) -> None:
        super().__init__(folder, image)
        self._count = 0

    def environment(self) -> Mapping[str, str]:
        """See `Tool`."""
        return {
            "BORG_REPO": str(self.repository),
            "BORG_PASSCOMMAND": f"cat {self.key}",
            "BORG_BASE_DIR": str(self.folder / "base"),
        }

    def make(self) -> None:
        """See `Tool`."""
        self.run("borg", "init", "--encryption", "repokey-blake2")

    def back_up(self) -> Timed:
        """See `Tool`."""
        self._count += 1
        return self.run(
            "borg", "create", "--chunker-params", "fixed,4194304", "--compression", "zstd,1",
            f"::{self._count}", str(self.image),
        )  # fmt: skip

    def restore(self, target: Path) -> tuple[Timed, Path]:
        """See `Tool`."""
        target.mkdir()
        done = self.run(
            "sh", "-c", f'cd "$0" && exec borg extract ::{self._count}', str(target),
            filesystem=target,
        )  # fmt: skip
        return done, target / self.image.relative_to("/")


ALL = (Mooring, Restic, Borg)
