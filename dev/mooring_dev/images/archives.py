"""Writes docker-archive files, the form that `ctr images import` reads, from plain files."""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ImageRecipe:
    """One image of one layer.

    Attributes:
        name: Its full name with its tag.
        files: Path in the image to the file on this machine.
        links: Path in the image to what a symbolic link there says.
        folders: Further folders; a mode for each.
        lower_layer: A tar file of a whole system that lies below, if any.
        entrypoint: What it runs.
        command: What it runs when the pod says nothing.
        environment: `NAME=value` entries.
    """

    name: str
    files: dict[str, Path]
    links: dict[str, str] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    lower_layer: Path | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin",)


def write_archive(recipe: ImageRecipe, target: Path) -> None:
    """Writes the image's archive; equal inputs give an equal file."""
    part = target.with_suffix(".part")
    layer_file = target.with_suffix(".layer")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(layer_file, "w") as layer:
        _fill(layer, recipe)
    layers = {"layer.tar": layer_file}
    if recipe.lower_layer:
        layers = {"lower.tar": recipe.lower_layer, **layers}
    config = _config(recipe, list(layers.values()))
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [recipe.name], "Layers": list(layers)}]
    with tarfile.open(part, "w") as archive:
        for name, file in layers.items():
            archive.add(file, name, filter=_plain)
        for name, content in (
            (config_name, config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            _add(archive, name, content)
    layer_file.unlink()
    part.replace(target)


def _config(recipe: ImageRecipe, layers: list[Path]) -> bytes:
    digests = []
    for layer in layers:
        with layer.open("rb") as content:
            digests.append(f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}")
    return json.dumps(
        {
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "os": "linux",
            "config": {
                "Entrypoint": list(recipe.entrypoint),
                "Cmd": list(recipe.command),
                "Env": list(recipe.environment),
            },
            "rootfs": {"type": "layers", "diff_ids": digests},
            "history": [{"created_by": "mooring_dev"}] * len(digests),
        }
    ).encode()


def _fill(layer: tarfile.TarFile, recipe: ImageRecipe) -> None:
    folders = dict(recipe.folders)
    for path in [*recipe.files, *recipe.links]:
        for parent in Path(path).parents:
            folders.setdefault(str(parent), 0o755)
    for path in sorted(folders):
        if path.strip("/") not in ("", "."):
            info = tarfile.TarInfo(path.strip("/"))
            info.type, info.mode = tarfile.DIRTYPE, folders[path]
            layer.addfile(info)
    for path, source in sorted(recipe.files.items()):
        info = tarfile.TarInfo(path.strip("/"))
        info.size, info.mode = source.stat().st_size, 0o755
        with source.open("rb") as content:
            layer.addfile(info, content)
    for path, destination in sorted(recipe.links.items()):
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, destination
        layer.addfile(info)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    return info


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))
