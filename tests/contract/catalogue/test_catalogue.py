"""The port of the catalogue, held by every adapter: memory, a directory, Volume objects."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from mooring.adapters.catalogue.directory import DirectoryCatalogue
from mooring.adapters.catalogue.memory import MemoryCatalogue
from mooring.adapters.kubernetes.volume_catalogue import KubernetesCatalogue
from mooring.domain import errors, ids, volumes
from mooring.ports.catalogue import NodeReport
from support.catalogue_reports import (
    CREATED_AT,
    NODE,
    OTHER,
    make_snapshot,
    make_spec,
    make_status,
)
from support.fake_cluster import FakeCluster


@pytest.fixture(params=["memory", "directory", "kubernetes"])
def catalogue(request, tmp_path):
    if request.param == "memory":
        return MemoryCatalogue()
    if request.param == "directory":
        return DirectoryCatalogue(tmp_path / "catalogue")
    return KubernetesCatalogue(FakeCluster())


SPECS = [
    make_spec(),
    make_spec(mode=volumes.VolumeMode.BLOCK, filesystem=None, preallocated=True),
    make_spec(filesystem=volumes.FilesystemType.XFS, sector_size_bytes=512, filling=True),
    make_spec(source=volumes.Source(volume_id=ids.volume_id_for("x"))),
    make_spec(
        source=volumes.Source(snapshot_id=ids.snapshot_id_for("s", ids.volume_id_for("x"))),
        labels={},
    ),
    make_spec(name="../../etc/passwd \u00e9 \U0001f600"),
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_reservation_is_kept_whole(catalogue, spec):
    entry = catalogue.reserve(spec, NODE)
    assert (entry.spec, entry.node, entry.deletion_requested, entry.status) == (
        spec,
        NODE,
        False,
        None,
    )
    assert catalogue.entry(spec.volume_id) == entry
    assert list(catalogue.entries()) == [entry]


def test_reserving_again_changes_nothing_and_returns_what_is_there(catalogue):
    first = catalogue.reserve(make_spec(), NODE)
    again = catalogue.reserve(make_spec(size_bytes=1 << 30), OTHER)
    assert again == first
    assert list(catalogue.entries()) == [first]


def test_parallel_reservations_agree(catalogue):
    def reserve(number: int):
        return catalogue.reserve(make_spec(), ids.NodeName(f"node-{number}")).node

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(reserve, range(24)))) == 1


def test_absent_things_are_no_error(catalogue):
    volume_id = ids.volume_id_for("nothing")
    assert catalogue.entry(volume_id) is None
    assert list(catalogue.entries()) == []
    catalogue.drop(volume_id)
    catalogue.request_deletion(volume_id)
    catalogue.request_undelete(volume_id)
    catalogue.request_snapshot_deletion(ids.snapshot_id_for("s", volume_id))
    catalogue.record_size(volume_id, 1 << 30)
    assert list(catalogue.entries()) == []


def test_dropping_forgets(catalogue):
    catalogue.reserve(make_spec(), NODE)
    kept = catalogue.reserve(make_spec("pvc-2"), NODE)
    catalogue.drop(make_spec().volume_id)
    assert list(catalogue.entries()) == [kept]


def test_entries_are_in_order_of_their_ids(catalogue):
    specs = [make_spec(f"pvc-{number}") for number in range(9)]
    for spec in specs:
        catalogue.reserve(spec, NODE)
    found = [entry.spec.volume_id for entry in catalogue.entries()]
    assert found == sorted(spec.volume_id for spec in specs)


def test_a_tombstone_stays_through_reports(catalogue):
    spec = make_spec()
    catalogue.reserve(spec, NODE)
    for _ in range(2):
        catalogue.request_deletion(spec.volume_id)
    catalogue.report(NODE, NodeReport([make_status(spec)]))
    assert catalogue.entry(spec.volume_id).deletion_requested


def test_a_size_is_recorded(catalogue):
    catalogue.reserve(make_spec(), NODE)
    catalogue.record_size(make_spec().volume_id, 1 << 30)
    assert catalogue.entry(make_spec().volume_id).spec.size_bytes == 1 << 30


def test_a_report_adds_what_is_missing_and_updates_the_rest(catalogue):
    known, lost = make_spec(), make_spec("pvc-2")
    catalogue.reserve(known, NODE)
    statuses = [make_status(known), make_status(lost)]
    for _ in range(2):
        catalogue.report(NODE, NodeReport(statuses, [make_snapshot(known)]))
    found = {entry.spec.volume_id: entry for entry in catalogue.entries()}
    assert {entry.node for entry in found.values()} == {NODE}
    for status in statuses:
        entry = found[status.record.spec.volume_id]
        assert entry.spec == status.record.spec
        assert entry.status.condition == status.condition
        assert entry.status.published
        assert entry.status.used_bytes == status.used_bytes
        assert entry.status.record.state is volumes.VolumeState.READY
    assert found[known.volume_id].snapshots == (make_snapshot(known),)
    assert found[lost.volume_id].snapshots == ()


def test_a_report_removes_no_entry_and_touches_no_other_nodes(catalogue):
    mine, others = make_spec(), make_spec("pvc-2")
    catalogue.reserve(mine, NODE)
    entry = catalogue.reserve(others, OTHER)
    catalogue.report(NODE, NodeReport())
    assert catalogue.entry(mine.volume_id) is not None
    assert catalogue.entry(others.volume_id) == entry


def test_a_snapshots_tombstone_goes_once_it_is_reported_no_more(catalogue):
    spec = make_spec()
    snapshot, kept = make_snapshot(spec), make_snapshot(spec, "kept")
    catalogue.reserve(spec, NODE)
    catalogue.report(NODE, NodeReport([make_status(spec)], [snapshot, kept]))
    for _ in range(2):
        catalogue.request_snapshot_deletion(snapshot.snapshot_id)
    assert catalogue.entry(spec.volume_id).snapshot_deletions == (snapshot.snapshot_id,)
    catalogue.report(NODE, NodeReport([make_status(spec)], [snapshot, kept]))
    assert catalogue.entry(spec.volume_id).snapshot_deletions == (snapshot.snapshot_id,)
    for _ in range(2):  # an adapter may leave it to the next report when something else changed
        catalogue.report(NODE, NodeReport([make_status(spec)], [kept]))
    entry = catalogue.entry(spec.volume_id)
    assert (entry.snapshot_deletions, entry.snapshots) == ((), (kept,))


def test_snapshots_of_a_deleted_volume_stay_with_its_entry(catalogue):
    spec = make_spec()
    catalogue.reserve(spec, NODE)
    catalogue.request_deletion(spec.volume_id)
    catalogue.report(NODE, NodeReport([], [make_snapshot(spec)]))
    entry = catalogue.entry(spec.volume_id)
    assert entry.deletion_requested
    assert entry.snapshots == (make_snapshot(spec),)


@pytest.mark.parametrize(
    ("report", "named"),
    [
        (NodeReport(unread_pools={ids.PoolName("fast"): "its disk is gone"}), "its disk is gone"),
        (NodeReport(pool_names=frozenset({ids.PoolName("slow")})), "delete the Volume object"),
    ],
    ids=["unread", "missing"],
)
def test_a_pool_that_is_not_read_takes_nothing_away(catalogue, report, named):
    spec, elsewhere = make_spec(), make_spec("pvc-2", pool=ids.PoolName("slow"))
    snapshot, marked = make_snapshot(spec), make_snapshot(spec, "marked")
    for one in (spec, elsewhere):
        catalogue.reserve(one, NODE)
    statuses = [make_status(spec), make_status(elsewhere)]
    catalogue.report(NODE, NodeReport(statuses, [snapshot, marked, make_snapshot(elsewhere)]))
    catalogue.request_snapshot_deletion(marked.snapshot_id)
    catalogue.report(NODE, report)
    kept = catalogue.entry(spec.volume_id)
    assert set(kept.snapshots) == {snapshot, marked}
    assert kept.snapshot_deletions == (marked.snapshot_id,)
    assert kept.status.condition.abnormal
    assert f"{named}; shown is its last report" in kept.status.condition.message
    assert catalogue.entry(elsewhere.volume_id).snapshots == ()
    catalogue.report(NODE, NodeReport([make_status(spec)], [snapshot]))
    for _ in range(2):
        catalogue.report(NODE, NodeReport([make_status(spec)], [snapshot]))
    back = catalogue.entry(spec.volume_id)
    assert (back.snapshots, back.snapshot_deletions) == ((snapshot,), ())
    assert back.status.condition == make_status(spec).condition


def test_what_is_read_of_a_damaged_pool_is_believed(catalogue):
    spec, snapshot = make_spec(), make_snapshot(make_spec())
    damaged = {spec.pool: "a record cannot be read"}
    catalogue.report(NODE, NodeReport([make_status(spec)], [snapshot], damaged))
    entry = catalogue.entry(spec.volume_id)
    assert entry.status.condition == make_status(spec).condition
    assert entry.snapshots == (snapshot,)


@pytest.mark.parametrize(
    "doubtful",
    [
        {"unread_pools": {ids.PoolName("fast"): "a record cannot be read"}},
        {"pool_names": frozenset({ids.PoolName("slow")})},
    ],
    ids=["unread", "missing"],
)
def test_a_snapshot_alone_says_of_no_volume_that_it_is_deleted_while_its_pool_is_in_doubt(
    catalogue, doubtful
):
    spec, snapshot = make_spec(), make_snapshot(make_spec())
    catalogue.report(NODE, NodeReport([], [snapshot], **doubtful))
    assert catalogue.entry(spec.volume_id) is None
    catalogue.report(NODE, NodeReport([make_status(spec)], [snapshot]))
    back = catalogue.entry(spec.volume_id)
    assert (back.deletion_requested, back.spec, back.snapshots) == (False, spec, (snapshot,))


def test_a_snapshot_alone_in_a_pool_that_is_read_leads_to_a_deleted_volume(catalogue):
    spec, snapshot = make_spec(), make_snapshot(make_spec())
    catalogue.report(NODE, NodeReport([], [snapshot], pool_names=frozenset({spec.pool})))
    entry = catalogue.entry(spec.volume_id)
    assert (entry.deletion_requested, entry.snapshots) == (True, (snapshot,))


class TestDirectory:
    """What only files can go through."""

    def test_another_process_sees_the_same(self, tmp_path):
        DirectoryCatalogue(tmp_path).reserve(make_spec(), NODE)
        assert DirectoryCatalogue(tmp_path).entry(make_spec().volume_id).node == NODE

    @pytest.mark.parametrize("content", [b"", b"{", b"{}", b"null", b'{"spec": 1, "node": "a"}'])
    def test_a_record_that_cannot_be_read_is_named_and_left(self, tmp_path, content):
        catalogue = DirectoryCatalogue(tmp_path)
        catalogue.reserve(make_spec(), NODE)
        [path] = tmp_path.glob("vol-*.json")
        path.write_bytes(content)
        with pytest.raises(errors.DataCorrupt, match=make_spec().volume_id):
            catalogue.entries()
        assert path.read_bytes() == content

    def test_a_write_that_was_cut_off_leaves_the_old_entry(self, tmp_path):
        catalogue = DirectoryCatalogue(tmp_path)
        entry = catalogue.reserve(make_spec(), NODE)
        [path] = tmp_path.glob("vol-*.json")
        path.with_suffix(".new").write_bytes(path.read_bytes()[:10])
        assert list(catalogue.entries()) == [entry]
        catalogue.record_size(make_spec().volume_id, 1 << 30)
        [after] = catalogue.entries()
        assert after == replace(entry, spec=replace(entry.spec, size_bytes=1 << 30))

    def test_a_folder_that_is_gone_is_unreachable(self, tmp_path):
        catalogue = DirectoryCatalogue(tmp_path / "gone")
        (tmp_path / "gone").rename(tmp_path / "away")
        with pytest.raises(errors.Unreachable):
            catalogue.reserve(make_spec(), NODE)
        with pytest.raises(errors.Unreachable):
            catalogue.entries()


def test_that_writes_wait_is_kept_until_the_node_says_otherwise(catalogue):
    status = make_status(make_spec())
    for condition in (
        volumes.VolumeCondition(True, "pool fast is full", writes_wait=True),
        volumes.VolumeCondition(False, "healthy"),
    ):
        catalogue.report(NODE, NodeReport([replace(status, condition=condition)]))
        assert catalogue.entry(make_spec().volume_id).status.condition == condition


def test_that_writes_wait_is_no_news_of_a_pool_that_cannot_be_read(catalogue):
    condition = volumes.VolumeCondition(True, "pool fast is full", writes_wait=True)
    catalogue.report(NODE, NodeReport([replace(make_status(make_spec()), condition=condition)]))
    catalogue.report(NODE, NodeReport(unread_pools={ids.PoolName("fast"): "EIO"}))
    found = catalogue.entry(make_spec().volume_id).status.condition
    assert (found.abnormal, found.writes_wait) == (True, False)


def make_trashed(name: str = "pvc-1") -> volumes.VolumeStatus:
    status = make_status(make_spec(name))
    before = status.record.spec
    trashing = volumes.Trashing(before.volume_id, CREATED_AT, CREATED_AT + timedelta(hours=24))
    record = replace(
        status.record,
        spec=replace(before, volume_id=trashing.trashed_id),
        state=volumes.VolumeState.TRASHED,
        trashing=trashing,
    )
    return replace(status, record=record)


def test_a_volume_in_the_trash_is_shown_with_when_it_goes(catalogue):
    status = make_trashed()
    catalogue.report(NODE, NodeReport([status]))
    (entry,) = catalogue.entries()
    assert entry.trashed
    assert entry.status.record.trashing == status.record.trashing


def test_the_wish_to_have_it_back_stays_until_it_is_back(catalogue):
    status = make_trashed()
    volume_id = status.record.spec.volume_id
    catalogue.report(NODE, NodeReport([status]))
    catalogue.request_deletion(volume_id)
    catalogue.request_undelete(volume_id)
    for report in (NodeReport([status]), NodeReport(unread_pools={status.record.spec.pool: "EIO"})):
        catalogue.report(NODE, report)
        entry = catalogue.entry(volume_id)
        assert entry.undelete_requested
        assert not entry.deletion_requested
    back = replace(status.record, state=volumes.VolumeState.READY, trashing=None)
    catalogue.report(NODE, NodeReport([replace(status, record=back)]))
    entry = catalogue.entry(volume_id)
    assert not entry.undelete_requested
    assert not entry.trashed
    assert entry.status.record.trashing is None


def test_the_word_that_a_node_is_gone_stays_until_it_reports_the_volume(catalogue):
    status = make_status(make_spec())
    volume_id = status.record.spec.volume_id
    catalogue.report(NODE, NodeReport([status]))
    catalogue.forget(volume_id)
    catalogue.forget(ids.volume_id_for("never made"))
    catalogue.report(NODE, NodeReport(unread_pools={status.record.spec.pool: "EIO"}))
    catalogue.report(OTHER, NodeReport())
    assert catalogue.entry(volume_id).forgotten
    catalogue.report(NODE, NodeReport([status]))
    assert not catalogue.entry(volume_id).forgotten


def test_a_volume_that_came_with_its_pool_is_the_new_nodes_and_no_other_is(catalogue):
    moved, copied, kept = make_spec(), make_spec("pvc-2"), make_spec("pvc-3", pool="slow")
    gone = make_spec("pvc-4")
    for one in (moved, copied, kept, gone):
        catalogue.reserve(one, NODE)
    old, taken = make_snapshot(moved), make_snapshot(gone)
    catalogue.report(NODE, NodeReport([make_status(moved), make_status(kept)], [old, taken]))
    catalogue.request_deletion(gone.volume_id)
    catalogue.request_snapshot_deletion(old.snapshot_id)

    report = NodeReport([make_status(moved), make_status(kept)], [old, taken])
    catalogue.report(OTHER, report)
    assert {entry.node for entry in catalogue.entries()} == {NODE}
    adopting = replace(report, adopted_from={moved.pool: (NODE,)})
    for _ in range(2):
        catalogue.report(OTHER, adopting)
    found = {entry.spec.name: entry for entry in catalogue.entries()}
    assert {name: entry.node for name, entry in found.items()} == {
        "pvc-1": OTHER,
        "pvc-2": NODE,
        "pvc-3": NODE,
        "pvc-4": OTHER,
    }
    assert found["pvc-1"].status == make_status(moved)
    assert found["pvc-1"].snapshot_deletions == (old.snapshot_id,)
    assert found["pvc-4"].deletion_requested
    assert found["pvc-4"].snapshots == (taken,)


def test_a_volume_that_its_node_has_no_more_is_not_called_healthy(catalogue):
    healthy = volumes.VolumeCondition(abnormal=False, message="healthy")
    status = replace(make_status(make_spec()), condition=healthy)
    volume_id = status.record.spec.volume_id
    catalogue.report(NODE, NodeReport([status]))
    catalogue.report(NODE, NodeReport())
    entry = catalogue.entry(volume_id)
    assert entry.status is None or entry.status.condition.abnormal
    assert not entry.gone, "nothing is concluded from it"
    catalogue.report(NODE, NodeReport([status]))
    assert not catalogue.entry(volume_id).status.condition.abnormal
