"""One Volume object that cannot be written, or read, holds up no other's report."""

import pytest
import structlog

from mooring.adapters.kubernetes.volume_catalogue import VOLUMES, KubernetesCatalogue
from mooring.domain import errors, ids
from mooring.ports.catalogue import NodeReport
from support.catalogue_reports import NODE, OTHER, make_snapshot, make_spec, make_status
from support.fake_cluster import FakeCluster

SPECS = [make_spec(name) for name in ("pvc-1", "pvc-2", "pvc-3")]


@pytest.fixture
def objects() -> FakeCluster:
    return FakeCluster()


def _refuse(objects: FakeCluster, verb: str, volume_id: ids.VolumeId, error: type) -> None:
    def refused(call: str) -> errors.MooringError | None:
        return error("refused") if call == f"{verb} volumes /{volume_id}" else None

    objects.fail = refused


@pytest.mark.parametrize("verb", ["create", "patch"])
@pytest.mark.parametrize("error", [errors.InvalidInput, errors.Busy, errors.PermissionDenied])
@pytest.mark.parametrize("bad", SPECS, ids=lambda spec: spec.name)
def test_what_the_api_refuses_of_one_is_said_and_the_others_are_reported(objects, verb, error, bad):
    catalogue = KubernetesCatalogue(objects)
    _refuse(objects, verb, bad.volume_id, error)
    report = NodeReport([make_status(spec) for spec in SPECS])
    with structlog.testing.capture_logs() as lines:
        catalogue.report(NODE, report)
    assert [(line["volume"], line["log_level"]) for line in lines] == [(bad.volume_id, "warning")]
    reported = {e.spec.volume_id for e in catalogue.entries() if e.status is not None}
    assert reported == {spec.volume_id for spec in SPECS} - {bad.volume_id}
    objects.fail = lambda _: None
    catalogue.report(NODE, report)
    assert catalogue.entry(bad.volume_id).status is not None


def test_an_object_under_a_volumes_name_that_is_none_of_ours_is_said(objects):
    catalogue = KubernetesCatalogue(objects)
    name = SPECS[0].volume_id
    objects.create(VOLUMES, {"metadata": {"name": name}, "spec": {"node": OTHER, "pool": "../x"}})
    with structlog.testing.capture_logs() as lines:
        catalogue.report(NODE, NodeReport([make_status(spec) for spec in SPECS]))
    assert [(line["volume"], line["reason"]) for line in lines] == [(name, "DataCorrupt")]
    reported = {e.spec.volume_id for e in catalogue.entries() if e.status is not None}
    assert reported == {spec.volume_id for spec in SPECS[1:]}


def test_a_snapshot_without_its_volume_holds_up_nothing(objects):
    catalogue = KubernetesCatalogue(objects)
    _refuse(objects, "create", SPECS[0].volume_id, errors.InvalidInput)
    snapshots = [make_snapshot(spec) for spec in SPECS[:2]]
    catalogue.report(NODE, NodeReport([make_status(SPECS[2])], snapshots))
    assert len(catalogue.entries()) == 2


def test_an_api_that_does_not_answer_ends_the_report(objects):
    catalogue = KubernetesCatalogue(objects)
    _refuse(objects, "create", SPECS[1].volume_id, errors.Unreachable)
    with pytest.raises(errors.Unreachable):
        catalogue.report(NODE, NodeReport([make_status(spec) for spec in SPECS]))
