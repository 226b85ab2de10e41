"""Calls of SnapshotMetadata that no backup tool makes: each is a clear error."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.domain import ids
from mooring_csi._generated import csi_pb2_grpc
from support import csi_calls, spoiling
from support.csi_calls import Driver, create_request, pb

CODE = grpc.StatusCode
FAULTS = (CODE.INTERNAL, CODE.UNKNOWN)
METHODS = sorted(
    method.name for method in pb.DESCRIPTOR.services_by_name["SnapshotMetadata"].methods
)
VOLUME = ids.volume_id_for("pvc-1")
BASE, TARGET = (ids.snapshot_id_for(name, VOLUME) for name in ("base", "target"))
STRINGS = (*spoiling.STRINGS, VOLUME, BASE, TARGET, ids.snapshot_id_for("x", VOLUME))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with csi_calls.serve(tmp_path_factory.mktemp("csi")) as found:
        found.controller.CreateVolume(create_request())
        for number, name in enumerate(("base", "target")):
            found.world.images.write(ids.ImageId(VOLUME), number * 8192, b"new")
            request = pb.CreateSnapshotRequest(name=name, source_volume_id=VOLUME)
            found.controller.CreateSnapshot(request)
        yield found


def template(method: str) -> Message:
    """A request that succeeds."""
    if method == "GetMetadataAllocated":
        return pb.GetMetadataAllocatedRequest(snapshot_id=TARGET, max_results=1)
    return pb.GetMetadataDeltaRequest(base_snapshot_id=BASE, target_snapshot_id=TARGET)


def _stub(driver: Driver, method: str) -> Callable[[Any], Any]:
    stub = csi_pb2_grpc.SnapshotMetadataStub(driver.channel)  # type: ignore[no-untyped-call]
    found: Callable[[Any], Any] = getattr(stub, method)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_request_that_is_spoilt_would_succeed(driver: Driver, method: str) -> None:
    answers = list(_stub(driver, method)(template(method)))
    assert sum(len(one.block_metadata) for one in answers) > 0


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_in_a_request_is_a_fault_of_the_driver(
    driver: Driver, method: str, data: st.DataObject
) -> None:
    request = template(method)
    for _ in range(data.draw(st.integers(1, 2))):
        spoiling.Spoiler(data.draw, STRINGS).spoil(request)
    before = driver.world.state()
    code, details = spoiling.outcome(_stub(driver, method), request)
    assert code not in FAULTS, (details, request)
    assert bool(details) is (code is not CODE.OK)
    assert driver.world.state() == before
