"""Images from Debian packages: the base of the product's image, and PostgreSQL for the demo."""

import os
from pathlib import Path

from mooring_dev.images.archives import ImageRecipe, write_archive
from mooring_dev.steps import cache_folder, digest_of, locked, run, step

SUITE = "bookworm"
POSTGRES_IMAGE = "localhost/postgres:15"
_POSTGRES_USER_ID = 999
BASE_PACKAGES = (
    "btrfs-progs",
    "ca-certificates",
    "e2fsprogs",
    "mount",
    "python3",
    "python3-venv",
    "util-linux",
    "xfsprogs",
)
_ENTRY_SCRIPT = """#!/bin/sh
# Makes the database in $PGDATA when there is none, then becomes the server.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 > /dev/null
  echo "host all all all trust" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c jit=off -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
"""


def base_tree() -> Path:
    """Returns a tar file of the product image's base system, made first when it is missing."""
    return _tree("base", BASE_PACKAGES, [])


def postgres_archive() -> Path:
    """Returns the archive of the PostgreSQL image, made first when it is missing.

    It runs as any user; user 999 has a name, which initdb asks for.
    """
    entry = f"postgres:x:{_POSTGRES_USER_ID}"
    hook = (
        f"echo '{entry}:{_POSTGRES_USER_ID}::/var/lib/postgresql:/bin/sh' >> \"$1/etc/passwd\"; "
        f"echo '{entry}:' >> \"$1/etc/group\""
    )
    # Without its compiler the image is a third of its size; the server runs with `jit=off`.
    compiler = ("/usr/lib/*/libLLVM*", "/usr/lib/*/libz3*", "/usr/lib/llvm*")
    options = [f"--dpkgopt=path-exclude={path}" for path in (*compiler, "*/bitcode/*")]
    tree = _tree("postgres", ("postgresql-15",), [f"--essential-hook={hook}", *options])
    folder = cache_folder() / "images"
    script = folder / "postgres-entry.sh"
    recipe = ImageRecipe(
        POSTGRES_IMAGE,
        {"usr/local/bin/postgres-entry": script},
        lower_layer=tree,
        entrypoint=("postgres-entry",),
        environment=(
            "PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin",
            "PGDATA=/var/lib/postgresql/data",
        ),
    )
    target = folder / f"postgres-{digest_of([repr(recipe).encode(), _ENTRY_SCRIPT.encode()])}.tar"
    with locked(folder / "postgres.lock"):
        if not target.exists():
            script.write_text(_ENTRY_SCRIPT)
            write_archive(recipe, target)
    return target


def _tree(name: str, packages: tuple[str, ...], options: list[str]) -> Path:
    key = digest_of([SUITE.encode(), repr(packages).encode(), repr(options).encode()])
    folder = cache_folder() / "images"
    target = folder / f"{name}-tree-{key}.tar"
    with locked(folder / f"{name}-tree.lock"):
        if not target.exists():
            with step(f"making a Debian system with {', '.join(packages)}", 60):
                _bootstrap(target, packages, options)
    return target


def _bootstrap(target: Path, packages: tuple[str, ...], options: list[str]) -> None:
    part = target.with_name(f"{target.stem}.part.tar")
    part.unlink(missing_ok=True)
    unneeded = ("doc", "info", "locale", "man")
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in unneeded]
    run(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            "--quiet",
            "--aptopt=Acquire::Languages none",
            *excludes,
            *options,
            '--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*',
            SUITE,
            part,
        ],
        timeout_seconds=900,
        environment={"SOURCE_DATE_EPOCH": "0", "TMPDIR": os.environ.get("TMPDIR", "/tmp")},
    )
    part.replace(target)
