"""Paths that somebody else names: refused with a reason, and nothing outside them is touched."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.adapters.host.target_paths import KernelPaths
from mooring.domain import errors

PATHS = KernelPaths()
PIECES = st.one_of(
    st.sampled_from(
        ["..", ".", "", "loop", "link", "file", "full", "x" * 256, "\n", "\0", "é", "~"]
    ),
    st.text(max_size=20),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that can lie in the way, and a neighbour that must not change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_bytes(b"precious")
    inside = tmp_path / "inside"
    (inside / "full").mkdir(parents=True)
    (inside / "full" / "stray").write_bytes(b"somebody's")
    (inside / "empty").mkdir()
    (inside / "file").write_bytes(b"somebody's")
    (inside / "blank").touch()
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    return inside


def tree(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "other"
        for path in sorted(folder.rglob("*"))
    }


@given(pieces=st.lists(PIECES, min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_string_whatsoever_leads_out_or_crashes(folder: Path, pieces: list[str]) -> None:
    asked = f"{folder}/{'/'.join(pieces)}"
    before = tree(folder.parent)
    try:
        found = PATHS.resolve(asked)
    except errors.InvalidInput:
        return
    assert not found.is_symlink()
    assert ".." not in found.parts
    for make in (PATHS.make_folder, PATHS.make_file):
        if "link" in pieces or str(found) == str(folder):
            continue  # through a folder that is a link is where the kubelet itself may lead
        try:
            make(found)
        except errors.PreconditionFailed:
            continue
        PATHS.remove(found)
    assert held(tree(folder.parent)) == held(before)


def held(found: dict[str, bytes | str]) -> dict[str, bytes | str]:
    """What holds something: links, and files that are not empty."""
    return {name: content for name, content in found.items() if content not in (b"", "other")}


@pytest.mark.parametrize("name", ["link", "loop", "x" * 256, "loop/below", f"{'x' * 256}/below"])
def test_links_and_names_too_long_are_invalid(folder: Path, name: str) -> None:
    with pytest.raises(errors.InvalidInput):
        PATHS.resolve(f"{folder}/{name}")


@pytest.mark.parametrize("name", ["full", "file", "blank", "pipe", "file/below"])
def test_a_folder_is_never_made_where_something_lies(folder: Path, name: str) -> None:
    before = tree(folder)
    with pytest.raises(errors.PreconditionFailed, match="Move"):
        PATHS.make_folder(folder / name)
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["full", "empty", "file", "pipe", "file/below"])
def test_a_file_is_never_made_where_something_lies(folder: Path, name: str) -> None:
    before = tree(folder)
    with pytest.raises(errors.PreconditionFailed, match="Move"):
        PATHS.make_file(folder / name)
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["full", "file", "pipe", "link"])
def test_what_is_no_empty_mount_point_is_never_removed(folder: Path, name: str) -> None:
    before = tree(folder)
    with pytest.raises(errors.PreconditionFailed, match="Move"):
        PATHS.remove(folder / name)
    assert tree(folder) == before


def test_empty_mount_points_are_kept_and_removed(folder: Path) -> None:
    PATHS.make_folder(folder / "empty")
    PATHS.make_file(folder / "blank")
    for name in ("empty", "blank", "nothing", "blank/below"):
        PATHS.remove(folder / name)
    assert not (folder / "empty").exists()
    assert not (folder / "blank").exists()
