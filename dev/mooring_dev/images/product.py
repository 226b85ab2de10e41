"""The product's image, built from the real Dockerfile on a base of Debian packages."""

import json
import os
from pathlib import Path

from mooring_dev.images.debian import base_tree
from mooring_dev.steps import CHECKOUT, cache_folder, digest_of, locked, run, step

IMAGE = "docker.io/library/mooring:dev"
_SOURCES = ("engine", "operator", "csi", "cli")
_SINGLE_FILES = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "requirements-runtime.lock",
)
_KEPT_ARCHIVES = 3


def product_archive() -> Path:
    """Returns the archive of the product's image, built first when the checkout has changed.

    Raises:
        DevError: The build failed; says how.
    """
    folder = cache_folder() / "images"
    target = folder / f"product-{_inputs_key()}.tar"
    with locked(folder / "product.lock"):
        if not target.exists():
            base = _base_image()
            with step("building the product's image", 60):
                _build(base, target)
            _drop_old(folder)
        os.utime(target)
    return target


def _inputs_key() -> str:
    files = [CHECKOUT / name for name in _SINGLE_FILES]
    for source in _SOURCES:
        files += [path for path in sorted((CHECKOUT / source).rglob("*")) if _counts(path)]
    return digest_of(
        part
        for path in files
        for part in (str(path.relative_to(CHECKOUT)).encode(), path.read_bytes())
    )


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _buildah(command: str) -> list[str]:
    """Returns a buildah command with a store and a policy of its own, apart from the machine's."""
    folder = cache_folder() / "buildah"
    folder.mkdir(parents=True, exist_ok=True)
    # It leaves its store mounted on itself; in a namespace of its own, that goes with it.
    alone = ["unshare", "--mount", "--propagation=private", "--"]
    store = [f"--root={folder}/storage", f"--runroot={folder}/run", "--storage-driver=overlay"]
    if command in ("images", "add"):
        return [*alone, "buildah", *store, command]
    policy = folder / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    return [*alone, "buildah", *store, command, f"--signature-policy={policy}"]


def _base_image() -> str:
    tree = base_tree()
    name = f"localhost/mooring-base:{digest_of([tree.name.encode()])}"
    listed = json.loads(run([*_buildah("images"), "--json"]) or "[]")
    if any(name in (image.get("names") or []) for image in listed or []):
        return name
    with step("importing the base system", 15):
        container = run([*_buildah("from"), "scratch"]).strip()
        run([*_buildah("add"), container, tree, "/"], timeout_seconds=300)
        run([*_buildah("commit"), "--rm", container, name], timeout_seconds=300)
    return name


def _build(base: str, target: Path) -> None:
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    arguments = {"BASE": base}
    options = []
    if certificates := os.environ.get("PIP_CERT"):
        # A machine that reaches its package index through a proxy trusts that proxy's certificate.
        arguments["PIP_CERT"] = certificates
        options = ["--volume", f"{Path(certificates).parent}:{Path(certificates).parent}:ro"]
    if index := os.environ.get("PIP_INDEX_URL"):
        arguments["PIP_INDEX_URL"] = index
    for name, value in arguments.items():
        options += ["--build-arg", f"{name}={value}"]
    run(
        [
            *_buildah("bud"),
            "--isolation=chroot",
            "--layers",
            "--pull-never",
            *options,
            "--tag",
            IMAGE,
            "--file",
            CHECKOUT / "Dockerfile",
            CHECKOUT,
        ],
        timeout_seconds=1200,
    )
    run([*_buildah("push"), IMAGE, f"docker-archive:{part}:{IMAGE}"], timeout_seconds=300)
    part.replace(target)


def _drop_old(folder: Path) -> None:
    archives = sorted(folder.glob("product-*.tar"), key=lambda path: path.stat().st_mtime)
    for archive in archives[:-_KEPT_ARCHIVES]:
        archive.unlink(missing_ok=True)
