"""The product's image, built from the real Dockerfile on a base of Debian packages."""

import json
import os
from pathlib import Path

from mooring_dev.images.debian import base_tree
from mooring_dev.steps import CHECKOUT, cache_folder, digest_of, locked, run, step

REPOSITORY = "docker.io/library/mooring"
TAG = "dev"
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


def product_archive(tree: Path = CHECKOUT, tag: str = TAG) -> Path:
    """Returns the archive of the product's image, built first when its sources have changed.

    Args:
        tree: The sources: this checkout, or another version of them.
        tag: The image's tag.

    Raises:
        DevError: The build failed; says how.
    """
    folder = cache_folder() / "images"
    name = "product" if tag == TAG else f"version-{tag}"
    target = folder / f"{name}-{_inputs_key(tree)}.tar"
    with locked(folder / "product.lock"):
        if not target.exists():
            base = _base_image()
            with step(f"building the product's image {tag}", 60):
                _build(base, target, tree, f"{REPOSITORY}:{tag}")
            _drop_old(folder, name)
        os.utime(target)
    return target


def _inputs_key(tree: Path) -> str:
    files = [tree / name for name in _SINGLE_FILES]
    for source in _SOURCES:
        files += [path for path in sorted((tree / source).rglob("*")) if _counts(path)]
    return digest_of(
        part for path in files for part in (str(path.relative_to(tree)).encode(), path.read_bytes())
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


def _build(base: str, target: Path, tree: Path, image: str) -> None:
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
            image,
            "--file",
            tree / "Dockerfile",
            tree,
        ],
        timeout_seconds=1200,
    )
    run([*_buildah("push"), image, f"docker-archive:{part}:{image}"], timeout_seconds=300)
    part.replace(target)


def _drop_old(folder: Path, name: str) -> None:
    archives = sorted(folder.glob(f"{name}-*.tar"), key=lambda path: path.stat().st_mtime)
    for archive in archives[:-_KEPT_ARCHIVES]:
        archive.unlink(missing_ok=True)
