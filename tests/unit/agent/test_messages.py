"""What goes over the wire comes back the same, whatever field is added to the records later."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.agent import messages
from mooring.domain import ids, pools, volumes

text = st.text(max_size=20)
sizes = st.integers(0, (1 << 63) - 1)
moments = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))
volume_ids = text.map(ids.volume_id_for)
snapshot_ids = st.builds(ids.snapshot_id_for, text, volume_ids)
names = st.sampled_from([ids.PoolName("fast"), ids.PoolName("slow-1")])
sources = st.one_of(
    st.none(),
    st.builds(volumes.Source, volume_id=volume_ids),
    st.builds(volumes.Source, snapshot_id=snapshot_ids, node=st.just(ids.NodeName("node-b"))),
)
pulls = st.builds(
    volumes.PullProgress,
    taken_at=moments,
    source_size_bytes=sizes,
    done_bytes=sizes,
    chain=st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)).map(bytes.hex),
)
filesystems = st.one_of(st.none(), st.sampled_from(volumes.FilesystemType))
specs = st.builds(
    volumes.VolumeSpec,
    volume_id=volume_ids,
    name=text,
    pool=names,
    size_bytes=sizes,
    filesystem=filesystems,
    preallocated=st.booleans(),
    sector_size_bytes=st.sampled_from([512, 4096]),
    source=sources,
    filling=st.booleans(),
    labels=st.dictionaries(text, text, max_size=3),
    mode=st.sampled_from(volumes.VolumeMode),
)
trashings = st.builds(
    volumes.Trashing, volume_id=volume_ids, deleted_at=moments, expires_at=moments
)
records = st.builds(
    volumes.VolumeRecord,
    spec=specs,
    pull=st.one_of(st.none(), pulls),
    state=st.sampled_from(volumes.VolumeState),
    formatted=st.booleans(),
    created_at=moments,
    formatting=st.booleans(),
    growing_to_bytes=st.one_of(st.none(), sizes),
    trashing=st.one_of(st.none(), trashings),
)
snapshots = st.builds(
    volumes.SnapshotRecord,
    snapshot_id=snapshot_ids,
    name=text,
    pool=names,
    size_bytes=sizes,
    mode=st.sampled_from(volumes.VolumeMode),
    filesystem=filesystems,
    sector_size_bytes=st.sampled_from([512, 4096]),
    preallocated=st.booleans(),
    state=st.sampled_from(volumes.SnapshotState),
    created_at=moments,
    formatted=st.booleans(),
    base=st.none() | st.builds(volumes.BackupBase, repository_id=text, backup_id=text),
)
statuses = st.builds(
    volumes.VolumeStatus,
    record=records,
    used_bytes=sizes,
    published=st.booleans(),
    condition=st.builds(
        volumes.VolumeCondition,
        abnormal=st.booleans(),
        message=text,
        writes_wait=st.booleans(),
    ),
    extents=st.none() | sizes,
)
pool_statuses = st.builds(
    pools.PoolStatus,
    name=names,
    pool_uuid=text,
    node=st.just(ids.NodeName("node-a.example")),
    backend=st.sampled_from(pools.PoolBackend),
    capacity=st.builds(pools.PoolCapacity, sizes, sizes),
    provisioned_bytes=sizes,
    available_bytes=sizes,
    healthy=st.booleans(),
    message=text,
    waiting_volumes=st.integers(0, 1000),
    evacuation=st.none()
    | st.builds(
        pools.Evacuation,
        st.sampled_from(pools.PoolUse),
        st.integers(0, 1000),
        st.lists(st.builds(pools.HeldItem, text, text, text), max_size=3).map(tuple),
    ),
    adopted_from=st.lists(st.just(ids.NodeName("node-b")), max_size=2).map(tuple),
)


@given(specs)
@settings(max_examples=30)
def test_spec(value):
    assert messages.spec(messages.spec_message(value)) == value


@given(statuses)
@settings(max_examples=30)
def test_volume_status(value):
    assert messages.status(messages.status_message(value)) == value


@given(snapshots)
@settings(max_examples=30)
def test_snapshot(value):
    assert messages.snapshot(messages.snapshot_message(value)) == value


@given(pool_statuses)
@settings(max_examples=30)
def test_pool_status(value):
    assert messages.pool(messages.pool_message(value)) == value


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        (volumes.VolumeSpec, specs),
        (volumes.VolumeRecord, records),
        (volumes.SnapshotRecord, snapshots),
        (volumes.VolumeStatus, statuses),
        (pools.PoolStatus, pool_statuses),
    ],
)
def test_every_field_of_a_record_is_tried_above(kind, strategy):
    drawn = (
        set(strategy.wrapped_strategy.kwargs) if hasattr(strategy, "wrapped_strategy") else set()
    )
    assert drawn == set(kind.__dataclass_fields__)
