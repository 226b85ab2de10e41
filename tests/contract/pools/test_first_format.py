"""Records as the first Mooring wrote them, committed as they were: every later one reads them."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mooring.adapters import registry
from mooring.adapters.pools import pool_folder
from mooring.adapters.pools.records import FolderRecords
from mooring.domain import ids, pools, volumes

STATE = Path(__file__).parents[2] / "support" / "state_of_format_1"
FILES = ids.volume_id_for("files")
SNAP = ids.snapshot_id_for("point", FILES)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A copy of the state, to write to."""
    return Path(shutil.copytree(STATE, tmp_path / "pool"))


def test_every_record_is_read_with_what_it_says(state: Path) -> None:
    identity = pool_folder.identify(state, pools.PoolBackend.DIRECTORY, registry.system_clock())
    assert identity.pool_uuid == "3aebdb21-7be0-4f6b-aa03-83cda556b215"
    assert not identity.newer
    records = FolderRecords(state / "records")
    listed, kept = records.list_volumes(), records.list_snapshots()
    assert not listed.faults
    assert not kept.faults
    by_name = {one.spec.name: one for one in listed.records}
    assert by_name.keys() == {"files", "raw", "copy", "filling"}
    assert by_name["files"].spec.labels == {"namespace": "shop", "claim": "data"}
    assert by_name["raw"].spec.mode is volumes.VolumeMode.BLOCK
    assert by_name["copy"].spec.source == volumes.Source(snapshot_id=SNAP)
    assert by_name["filling"].state is volumes.VolumeState.FILLING
    assert [one.snapshot_id for one in kept.records] == [SNAP]
    records.close()


def test_a_record_written_anew_still_says_all_that_it_said(state: Path) -> None:
    """So that the older one, which reads what it knows, can be brought back."""
    records = FolderRecords(state / "records")
    for volume in records.list_volumes().records:
        records.put_volume(volume)
    for snapshot in records.list_snapshots().records:
        records.put_snapshot(snapshot)
    records.close()
    for before in STATE.glob("records/*/*.json"):
        after = state / before.relative_to(STATE)
        assert _within(json.loads(before.read_text()), json.loads(after.read_text())), after.name


def _within(old: Any, new: Any) -> bool:
    if isinstance(old, dict):
        return all(key in new and _within(value, new[key]) for key, value in old.items())
    return bool(old == new)


_STATES = {"Creating", "Filling", "Ready", "Deleting", "Trashed"}
_FIELDS = {
    volumes.VolumeRecord: "spec state formatted created_at formatting growing_to_bytes pull "
    "trashing",
    volumes.VolumeSpec: "volume_id name pool size_bytes mode filesystem preallocated "
    "sector_size_bytes source filling labels",
    volumes.Source: "volume_id snapshot_id node",
    volumes.PullProgress: "taken_at source_size_bytes done_bytes chain",
    volumes.Trashing: "volume_id deleted_at expires_at",
    volumes.SnapshotRecord: "snapshot_id name pool size_bytes mode filesystem sector_size_bytes "
    "preallocated state created_at formatted base",
}


def test_nothing_is_written_that_the_release_before_does_not_read() -> None:
    """Whoever adds something here has seen docs/decisions/0021: it is read one release earlier."""
    assert {state.value for state in volumes.VolumeState} == _STATES
    assert {state.value for state in volumes.SnapshotState} == {"Creating", "Ready", "Deleting"}
    for kind, names in _FIELDS.items():
        assert {field.name for field in dataclasses.fields(kind)} == set(names.split())
