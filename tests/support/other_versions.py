"""Images of the version before this one and of one that comes after it."""

import os
import subprocess
from pathlib import Path

import pytest

from mooring_dev.images import product
from support.development_cluster import CHECKOUT

FIRST = "867180e642a1aeceadbe4d6d8415d3dcd6571a51"
"""Stands for the version before until there is a release."""


def earlier(folder: Path) -> Path:
    """Returns the archive of the image `mooring:earlier`: the last release, as its sources say."""
    tagged = _git("describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    revision = os.environ.get("MOORING_EARLIER_VERSION") or tagged or FIRST
    tree = folder / "earlier"
    tree.mkdir()
    packed = subprocess.run(
        ["git", "-C", CHECKOUT, "archive", revision], capture_output=True, check=False
    )
    if packed.returncode:
        pytest.skip(f"the checkout has not the version before ({revision})")
    subprocess.run(["tar", "-x", "-C", tree], input=packed.stdout, check=True)
    return product.product_archive(tree, "earlier")


def later(folder: Path) -> Path:
    """Returns the archive of the image `mooring:later`: this tree under a later version."""
    tree = folder / "later"
    tree.mkdir()
    listed = _git("ls-files", "--cached", "--others", "--exclude-standard")
    subprocess.run(
        ["cp", "--parents", "--no-dereference", "-t", tree, *(listed or "").splitlines()],
        cwd=CHECKOUT,
        check=True,
    )
    for name in ("pyproject.toml", "engine/mooring/__init__.py"):
        text = (tree / name).read_text()
        (tree / name).write_text(
            text.replace('version = "0.', 'version = "99.').replace(
                '__version__ = "0.', '__version__ = "99.'
            )
        )
    return product.product_archive(tree, "later")


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        ["git", "-C", CHECKOUT, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
