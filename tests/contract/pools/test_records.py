"""The contract of `ports.records.VolumeRecords`, and what only files can suffer."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.adapters.pools.records import FolderRecords
from mooring.domain import errors, ids, volumes
from mooring.ports.records import VolumeRecords
from support.fake_storage import MemoryRecords

ONE = ids.volume_id_for("one")
TWO = ids.volume_id_for("two")
SNAP = ids.snapshot_id_for("snap", ONE)
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


def _volume(volume_id: ids.VolumeId = ONE) -> volumes.VolumeRecord:
    spec = volumes.VolumeSpec(
        volume_id,
        "pvc-1",
        ids.PoolName("fast"),
        1 << 30,
        source=volumes.Source(snapshot_id=SNAP),
        labels={"claim": "data"},
    )
    return volumes.VolumeRecord(spec, volumes.VolumeState.CREATING, True, MOMENT)


def _snapshot() -> volumes.SnapshotRecord:
    return volumes.SnapshotRecord(
        SNAP, "snap", ids.PoolName("fast"), 1 << 30, volumes.VolumeMode.BLOCK, None, 4096, False,
        volumes.SnapshotState.READY, MOMENT, formatted=False,
    )  # fmt: skip


@pytest.fixture(params=["memory", "folder"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VolumeRecords]:
    if request.param == "memory":
        yield MemoryRecords()
        return
    kept = FolderRecords(tmp_path / "records")
    yield kept
    kept.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one volume and one snapshot in it."""
    records = FolderRecords(tmp_path / "records")
    records.put_volume(_volume())
    records.put_volume(_volume(TWO))
    records.put_snapshot(_snapshot())
    records.close()
    return tmp_path / "records"


def test_what_is_put_is_there_until_it_is_removed(records: VolumeRecords) -> None:
    assert records.volume(ONE) is None
    assert records.snapshot(SNAP) is None
    records.put_volume(_volume())
    trashing = volumes.Trashing(TWO, MOMENT, MOMENT)
    records.put_volume(replace(_volume(), state=volumes.VolumeState.TRASHED, trashing=trashing))
    assert records.volume(ONE).trashing == trashing  # type: ignore[union-attr]
    records.put_volume(replace(_volume(), state=volumes.VolumeState.READY))
    records.put_snapshot(_snapshot())
    assert records.volume(ONE) == replace(_volume(), state=volumes.VolumeState.READY)
    assert records.snapshot(SNAP) == _snapshot()
    assert records.list_volumes().records == (replace(_volume(), state=volumes.VolumeState.READY),)
    assert records.list_snapshots().records == (_snapshot(),)
    for _ in range(2):
        records.remove_volume(ONE)
        records.remove_snapshot(SNAP)
    assert records.list_volumes().records == ()
    assert records.list_snapshots().records == ()


def test_records_survive_their_process(folder: Path) -> None:
    records = FolderRecords(folder)
    assert records.volume(ONE) == _volume()
    assert records.snapshot(SNAP) == _snapshot()
    records.close()


@st.composite
def any_volume(draw: st.DrawFn) -> volumes.VolumeRecord:
    mode = draw(st.sampled_from(volumes.VolumeMode))
    spec = replace(
        _volume().spec,
        name=draw(st.text(max_size=30)),
        labels=draw(st.dictionaries(st.text("abc", max_size=3), st.text(max_size=3), max_size=3)),
        mode=mode,
        filesystem=None if mode is volumes.VolumeMode.BLOCK else volumes.FilesystemType.XFS,
        preallocated=draw(st.booleans()),
        filling=draw(st.booleans()),
    )
    return replace(
        _volume(),
        spec=spec,
        state=draw(st.sampled_from(volumes.VolumeState)),
        formatted=draw(st.booleans()),
        formatting=draw(st.booleans()),
        growing_to_bytes=draw(st.none() | st.integers(min_value=1, max_value=1 << 62)),
    )


@settings(max_examples=50, deadline=None)  # each example goes to the disk
@given(record=any_volume())
def test_any_record_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, record: volumes.VolumeRecord
) -> None:
    folder = tmp_path_factory.mktemp("records") / "records"
    records = FolderRecords(folder)
    records.put_volume(record)
    records.close()
    records = FolderRecords(folder)
    assert records.volume(ONE) == record
    records.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"format_version": 2, "record": {}}',
        b'{"format_version": 1}',
        b'{"format_version": 1, "record": {"spec": {}}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_an_unreadable_record_is_named_and_its_neighbours_serve_on(
    folder: Path, content: bytes
) -> None:
    file = folder / "volumes" / f"{ONE}.json"
    file.write_bytes(content)
    records = FolderRecords(folder)
    listing = records.list_volumes()
    assert listing.records == (_volume(TWO),)
    assert len(listing.faults) == 1
    assert str(file) in listing.faults[0]
    for act in (
        lambda: records.volume(ONE),
        lambda: records.put_volume(_volume()),
        lambda: records.remove_volume(ONE),
    ):
        with pytest.raises(errors.DataCorrupt, match=ONE):
            act()
    assert file.read_bytes() == content
    records.put_volume(replace(_volume(TWO), formatted=False))
    records.close()


def test_a_record_under_anothers_name_is_a_fault(folder: Path) -> None:
    (folder / "volumes" / f"{TWO}.json").write_bytes(
        (folder / "volumes" / f"{ONE}.json").read_bytes()
    )
    records = FolderRecords(folder)
    assert "describes" in records.list_volumes().faults[0]
    records.close()


@pytest.mark.parametrize("gone", [False, True])
def test_what_failed_when_it_was_done_is_shown_as_a_restart_would_show_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    records = FolderRecords(folder)
    trashed = replace(_volume(), state=volumes.VolumeState.TRASHED)
    sync = os.fsync

    def refused(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "no space for the folder")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(errors.SpaceExhausted):
        records.remove_volume(ONE) if gone else records.put_volume(trashed)
    assert records.volume(ONE) == (None if gone else trashed)
    again = FolderRecords(folder, read_only=True)
    assert again.list_volumes() == records.list_volumes()
    again.close()
    records.close()


def test_a_half_written_record_is_swept_away(folder: Path) -> None:
    (folder / "volumes" / f".{ONE}.json.tmp").write_bytes(b"{")
    records = FolderRecords(folder)
    assert records.volume(ONE) == _volume()
    assert not list((folder / "volumes").glob(".*"))
    records.close()


def test_the_file_says_its_format(folder: Path) -> None:
    document = json.loads((folder / "volumes" / f"{ONE}.json").read_text())
    assert document["format_version"] == 1
    assert document["record"]["spec"]["size_bytes"] == 1 << 30
