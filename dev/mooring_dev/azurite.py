"""Azurite, Microsoft's emulator of Azure Blob Storage: from npm, by a lock file, into the cache."""

import shutil
from pathlib import Path

from mooring_dev.steps import CHECKOUT, cache_folder, digest_of, locked, run, step

_RECIPE = CHECKOUT / "dev" / "toolchain" / "azurite"
_SERVER = Path("node_modules") / "azurite" / "dist" / "src" / "blob" / "main.js"


def blob_server() -> Path:
    """Returns the program for `node` that serves blobs, installing it first when needed.

    Raises:
        DevError: npm could not install it.
    """
    files = [_RECIPE / "package.json", _RECIPE / "package-lock.json"]
    folder = cache_folder() / f"azurite-{digest_of([path.read_bytes() for path in files])}"
    with locked(cache_folder() / "azurite.lock"):
        if not (folder / ".complete").exists():
            with step("installing Azurite from npm", 60):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                for path in files:
                    shutil.copy(path, folder)
                options = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
                run(["npm", "ci", *options], folder=folder, timeout_seconds=600)
            (folder / ".complete").touch()
    return folder / _SERVER
