"""The node agent's gRPC service: this node's storage, for peers whose certificate allows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog

from mooring.agent import authorization, failures, interceptors, messages
from mooring.agent._generated import agent_pb2, agent_pb2_grpc
from mooring.domain import errors, ids, transfers, volumes
from mooring.ports import nodes as nodes_port

_log = structlog.get_logger("agent")


ReadSnapshot = Callable[
    [ids.SnapshotId, ids.NodeName, volumes.PullProgress | None], Iterator[transfers.Part]
]
"""Yields a snapshot to the node of that name, from where its progress says."""


class NodeAgent(agent_pb2_grpc.NodeAgentServicer):
    """Carries calls to this node's storage."""

    def __init__(
        self,
        node: ids.NodeName,
        storage: nodes_port.NodeStorageAndSnapshots,
        read_snapshot: ReadSnapshot,
    ) -> None:
        self._node = node
        self._storage = storage
        self._read_snapshot = read_snapshot

    def Hello(  # noqa: N802 - the interface names the methods
        self, request: agent_pb2.HelloRequest, context: grpc.ServicerContext
    ) -> agent_pb2.HelloResponse:
        """Answers, so that the caller knows that its next call will arrive."""
        return agent_pb2.HelloResponse(node=self._node)

    def CreateVolume(  # noqa: N802
        self, request: agent_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> agent_pb2.VolumeRecord:
        """See `ports.nodes.NodeStorage.create_volume`."""
        try:
            spec = messages.spec(request.spec)
        except ValueError as error:
            raise errors.InvalidInput(f"a volume this agent does not know: {error}") from error
        return messages.record_message(self._storage.create_volume(spec))

    def DeleteVolume(  # noqa: N802
        self, request: agent_pb2.VolumeRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Done:
        """See `ports.nodes.NodeStorage.delete_volume`."""
        self._storage.delete_volume(ids.parse_volume_id(request.volume_id))
        return agent_pb2.Done()

    def ExpandVolume(  # noqa: N802
        self, request: agent_pb2.ExpandVolumeRequest, context: grpc.ServicerContext
    ) -> agent_pb2.VolumeRecord:
        """See `ports.nodes.NodeStorage.expand_volume`."""
        volume_id = ids.parse_volume_id(request.volume_id)
        return messages.record_message(self._storage.expand_volume(volume_id, request.size_bytes))

    def FinishFilling(  # noqa: N802
        self, request: agent_pb2.VolumeRequest, context: grpc.ServicerContext
    ) -> agent_pb2.VolumeRecord:
        """See `ports.nodes.NodeStorage.finish_filling`."""
        volume_id = ids.parse_volume_id(request.volume_id)
        return messages.record_message(self._storage.finish_filling(volume_id))

    def ListVolumes(  # noqa: N802
        self, request: agent_pb2.ListRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Volumes:
        """See `ports.nodes.NodeStorage.list_volumes`."""
        statuses = self._storage.list_volumes()
        return agent_pb2.Volumes(volumes=[messages.status_message(item) for item in statuses])

    def ListPools(  # noqa: N802
        self, request: agent_pb2.ListRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Pools:
        """See `ports.nodes.NodeStorage.list_pools`."""
        pools = self._storage.list_pools()
        return agent_pb2.Pools(pools=[messages.pool_message(item) for item in pools])

    def CreateSnapshot(  # noqa: N802
        self, request: agent_pb2.CreateSnapshotRequest, context: grpc.ServicerContext
    ) -> agent_pb2.SnapshotRecord:
        """See `ports.nodes.NodeSnapshots.create_snapshot`."""
        record = self._storage.create_snapshot(
            ids.parse_snapshot_id(request.snapshot_id),
            request.name,
            freeze_timeout_seconds=request.freeze_timeout_seconds,
        )
        return messages.snapshot_message(record)

    def KeepBase(  # noqa: N802
        self, request: agent_pb2.KeepBaseRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Done:
        """See `ports.nodes.NodeSnapshots.keep_base`."""
        base = messages.base(request.base)
        self._storage.keep_base(ids.parse_snapshot_id(request.snapshot_id), base)
        return agent_pb2.Done()

    def DeleteSnapshot(  # noqa: N802
        self, request: agent_pb2.SnapshotRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Done:
        """See `ports.nodes.NodeSnapshots.delete_snapshot`."""
        self._storage.delete_snapshot(ids.parse_snapshot_id(request.snapshot_id))
        return agent_pb2.Done()

    def ListSnapshots(  # noqa: N802
        self, request: agent_pb2.ListRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Snapshots:
        """See `ports.nodes.NodeSnapshots.list_snapshots`."""
        records = self._storage.list_snapshots()
        return agent_pb2.Snapshots(snapshots=[messages.snapshot_message(item) for item in records])

    def ReadRanges(  # noqa: N802
        self, request: agent_pb2.ReadRangesRequest, context: grpc.ServicerContext
    ) -> Iterator[agent_pb2.SnapshotRanges]:
        """See `ports.nodes.NodeSnapshots.read_ranges`."""
        base = request.base_snapshot_id
        with self._storage.read_ranges(
            ids.parse_snapshot_id(request.snapshot_id),
            ids.parse_snapshot_id(base) if base else None,
        ) as found:
            yield from messages.ranges_messages(found)

    def OfferSnapshot(  # noqa: N802
        self, request: agent_pb2.OfferSnapshotRequest, context: grpc.ServicerContext
    ) -> agent_pb2.Done:
        """See `ports.nodes.NodeSnapshots.offer_snapshot`."""
        self._storage.offer_snapshot(
            ids.parse_snapshot_id(request.snapshot_id), ids.parse_node_name(request.node)
        )
        return agent_pb2.Done()

    def ReadSnapshot(  # noqa: N802
        self, request: agent_pb2.ReadSnapshotRequest, context: grpc.ServicerContext
    ) -> Iterator[agent_pb2.SnapshotPart]:
        """See `ports.transfers.RemoteSnapshots.read`; the peer is the reader."""
        reader = authorization.peer(context.auth_context()).node
        if reader is None:
            raise errors.PermissionDenied("only nodes read snapshots")
        progress = messages.progress(request.progress) if request.HasField("progress") else None
        snapshot_id = ids.parse_snapshot_id(request.snapshot_id)
        for part in self._read_snapshot(snapshot_id, reader, progress):
            yield messages.part_message(part)


class CallGuard(interceptors.CallInterceptor):
    """Lets through what a peer's certificate allows, and maps errors to the wire."""

    def __init__(self, allowed: authorization.Rules | None) -> None:
        """Takes the methods that each role may call; None where a service itself asks for proof."""
        super().__init__(self._guarded, self._guarded_stream)
        self._allowed = allowed

    def _check(self, method: str, context: grpc.ServicerContext) -> None:
        if self._allowed is not None:
            self._allowed.check(method, context.auth_context())

    def _guarded(self, method: str, behaviour: interceptors.Behaviour) -> interceptors.Behaviour:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with _errors_on_the_wire(method, context):
                self._check(method, context)
                return behaviour(request, context)

        return call

    def _guarded_stream(
        self, method: str, behaviour: interceptors.Behaviour
    ) -> interceptors.Behaviour:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with _errors_on_the_wire(method, context):
                self._check(method, context)
                yield from behaviour(request, context)

        return call


@contextmanager
def _errors_on_the_wire(method: str, context: grpc.ServicerContext) -> Iterator[None]:
    """The shell's one boundary: what a call raises becomes what its caller raises."""
    try:
        yield
    except errors.MooringError as error:
        _log.warning("refused", method=method, reason=error.reason, message=str(error))
        failures.abort(context, error)
    except Exception:
        _log.exception("fault", method=method)
        context.abort(grpc.StatusCode.INTERNAL, "a fault in Mooring; see its log")
