"""A node's storage over gRPC: the port that the controller and the operator use.

Each call is preceded by one that changes nothing. If that one fails, the call was not sent and
nothing was done (NeverReached); a failure afterwards may have come after the act (Unreachable).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import grpc

from mooring.agent import authorization, certificates, failures, messages, renewal
from mooring.agent._generated import agent_pb2, agent_pb2_grpc
from mooring.domain import errors, extents, ids, pools, volumes
from mooring.ports import transfers as transfers_port

_GREETING_TIMEOUT_SECONDS = 3.0
_READ_TIMEOUT_SECONDS = 20.0
_CHANGE_TIMEOUT_SECONDS = 110.0
_STREAM_TIMEOUT_SECONDS = 200.0
"""A copy between nodes that takes longer goes on in another call."""
_RETIRED_SECONDS = 2 * _CHANGE_TIMEOUT_SECONDS
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_retries", 0),
)

Addresses = Callable[[], Mapping[ids.NodeName, str]]


@dataclass
class _Connection:
    channel: grpc.Channel
    certificate: certificates.Certificate
    address: str


class AgentConnections:
    """One channel an agent; a new one when the certificate was renewed or the address changed."""

    def __init__(
        self,
        current: renewal.CurrentCertificate,
        *,
        greeting_timeout_seconds: float = _GREETING_TIMEOUT_SECONDS,
    ) -> None:
        """Takes this process's certificate, and how long an agent may take to answer at all."""
        self._current = current
        self.greeting_timeout_seconds = greeting_timeout_seconds
        self._guard = threading.Lock()
        self._connections: dict[ids.NodeName, _Connection] = {}
        self._retired: list[tuple[float, grpc.Channel]] = []

    def channel(self, node: ids.NodeName, address: str) -> grpc.Channel:
        """Returns a channel to a node's agent; it connects when it is used.

        Raises:
            NeverReached: There is no certificate yet.
        """
        certificate = self._current.present
        if certificate is None:
            raise errors.NeverReached(
                f"the agent of {node} cannot be called: this process has no certificate yet"
            )
        return self._cached(node, address, certificate)

    def close(self) -> None:
        """Closes every channel; calls under way end as Unreachable."""
        with self._guard:
            for connection in self._connections.values():
                connection.channel.close()
            for _, channel in self._retired:
                channel.close()
            self._connections.clear()
            self._retired.clear()

    def _cached(
        self, node: ids.NodeName, address: str, certificate: certificates.Certificate
    ) -> grpc.Channel:
        with self._guard:
            self._close_retired()
            present = self._connections.get(node)
            if present is not None:
                if present.certificate is certificate and present.address == address:
                    return present.channel
                # Calls may be under way on it: it is closed when their deadlines are over.
                self._retired.append((time.monotonic() + _RETIRED_SECONDS, present.channel))
            channel = _secure_channel(
                address, authorization.Identity(authorization.Role.NODE, node), certificate
            )
            self._connections[node] = _Connection(channel, certificate, address)
            return channel

    def _close_retired(self) -> None:
        now = time.monotonic()
        for due, channel in self._retired:
            if due <= now:
                channel.close()
        self._retired = [item for item in self._retired if item[0] > now]


def _secure_channel(
    address: str, peer: authorization.Identity, certificate: certificates.Certificate
) -> grpc.Channel:
    credentials = grpc.ssl_channel_credentials(
        root_certificates=certificate.authority_pem,
        private_key=certificate.key_pem,
        certificate_chain=certificate.certificate_pem,
    )
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", peer.dns_name))
    return grpc.secure_channel(address, credentials, options=options)


class RemoteNode:
    """`ports.nodes.NodeStorageAndSnapshots` of one node, carried to its agent."""

    def __init__(self, node: ids.NodeName, address: str, connections: AgentConnections) -> None:
        self._node = node
        self._address = address
        self._connections = connections

    def create_volume(self, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
        """Creates a volume, empty or from a source on that node."""
        request = agent_pb2.CreateVolumeRequest(spec=messages.spec_message(spec))
        return messages.record(self._change("CreateVolume", request))

    def delete_volume(self, volume_id: ids.VolumeId) -> None:
        """Deletes a volume; an absent one is no error."""
        self._change("DeleteVolume", agent_pb2.VolumeRequest(volume_id=volume_id))

    def expand_volume(self, volume_id: ids.VolumeId, size_bytes: int) -> volumes.VolumeRecord:
        """Grows the image."""
        request = agent_pb2.ExpandVolumeRequest(volume_id=volume_id, size_bytes=size_bytes)
        return messages.record(self._change("ExpandVolume", request))

    def finish_filling(self, volume_id: ids.VolumeId) -> volumes.VolumeRecord:
        """Makes a Filling volume Ready."""
        request = agent_pb2.VolumeRequest(volume_id=volume_id)
        return messages.record(self._change("FinishFilling", request))

    def list_volumes(self) -> Sequence[volumes.VolumeStatus]:
        """Returns every volume of the node with use and health."""
        answer = self._read("ListVolumes", agent_pb2.ListRequest())
        return [messages.status(item) for item in answer.volumes]

    def list_pools(self) -> Sequence[pools.PoolStatus]:
        """Returns every pool of the node."""
        answer = self._read("ListPools", agent_pb2.ListRequest())
        return [messages.pool(item) for item in answer.pools]

    def create_snapshot(
        self, snapshot_id: ids.SnapshotId, name: str, *, freeze_timeout_seconds: float
    ) -> volumes.SnapshotRecord:
        """Takes a snapshot of the volume that the id names."""
        request = agent_pb2.CreateSnapshotRequest(
            snapshot_id=snapshot_id, name=name, freeze_timeout_seconds=freeze_timeout_seconds
        )
        return messages.snapshot(self._change("CreateSnapshot", request))

    def offer_snapshot(self, snapshot_id: ids.SnapshotId, node: ids.NodeName) -> None:
        """Lets one other node read a snapshot for a while."""
        self._change(
            "OfferSnapshot", agent_pb2.OfferSnapshotRequest(snapshot_id=snapshot_id, node=node)
        )

    def keep_base(self, snapshot_id: ids.SnapshotId, base: volumes.BackupBase) -> None:
        """Keeps a snapshot for the next backup."""
        request = agent_pb2.KeepBaseRequest(
            snapshot_id=snapshot_id, base=messages.base_message(base)
        )
        self._change("KeepBase", request)

    def delete_snapshot(self, snapshot_id: ids.SnapshotId) -> None:
        """Deletes a snapshot; an absent one is no error."""
        self._change("DeleteSnapshot", agent_pb2.SnapshotRequest(snapshot_id=snapshot_id))

    def list_snapshots(self) -> Sequence[volumes.SnapshotRecord]:
        """Returns every snapshot of the node."""
        answer = self._read("ListSnapshots", agent_pb2.ListRequest())
        return [messages.snapshot(item) for item in answer.snapshots]

    def read_snapshot(
        self, snapshot_id: ids.SnapshotId, progress: volumes.PullProgress | None
    ) -> transfers_port.Parts:
        """Yields what is not here yet; see `ports.transfers.RemoteSnapshots.read`."""
        request = agent_pb2.ReadSnapshotRequest(
            snapshot_id=snapshot_id, progress=messages.progress_message(progress)
        )
        call = self._call("ReadSnapshot", request, _STREAM_TIMEOUT_SECONDS)
        try:
            for message in self._received(call):
                part = messages.part(message)
                if part is not None:
                    yield part
        finally:
            call.cancel()

    @contextmanager
    def read_ranges(
        self, snapshot_id: ids.SnapshotId, base_id: ids.SnapshotId | None
    ) -> Iterator[extents.ImageRanges]:
        """Finds what of a snapshot holds data, or changed."""
        request = agent_pb2.ReadRangesRequest(
            snapshot_id=snapshot_id, base_snapshot_id=base_id or ""
        )
        call = self._call("ReadRanges", request, _STREAM_TIMEOUT_SECONDS)
        try:
            messages_sent = self._received(call)
            first = next(messages_sent, None)
            if first is None:
                raise errors.HostFailure(f"the agent of {self._node} said nothing of {snapshot_id}")
            ranges = messages.ranges(chain([first], messages_sent))
            yield extents.ImageRanges(first.size_bytes, first.trusted, ranges)
        finally:
            call.cancel()

    def _received(self, call: Any) -> Iterator[Any]:
        """Yields the messages of a stream; the next is received only when it is asked for."""
        try:
            yield from call
        except grpc.RpcError as failure:
            raise failures.error_of(failure, f"the agent of {self._node}") from failure

    def _read(self, method: str, request: Any) -> Any:
        return self._call(method, request, _READ_TIMEOUT_SECONDS)

    def _change(self, method: str, request: Any) -> Any:
        return self._call(method, request, _CHANGE_TIMEOUT_SECONDS)

    def _call(self, method: str, request: Any, timeout_seconds: float) -> Any:
        channel = self._connections.channel(self._node, self._address)
        stub = agent_pb2_grpc.NodeAgentStub(channel)  # type: ignore[no-untyped-call]
        self._greet(stub)
        try:
            return getattr(stub, method)(request, timeout=timeout_seconds)
        except grpc.RpcError as failure:
            raise failures.error_of(failure, f"the agent of {self._node}") from failure

    def _greet(self, stub: agent_pb2_grpc.NodeAgentStub) -> None:
        peer = f"the agent of {self._node} at {self._address}"
        try:
            stub.Hello(
                agent_pb2.HelloRequest(),
                timeout=self._connections.greeting_timeout_seconds,
                wait_for_ready=True,
            )
        except grpc.RpcError as failure:
            error = failures.error_of(failure, peer)
            if isinstance(error, errors.Unreachable):
                raise errors.NeverReached(str(error)) from failure
            raise error from failure


class RemoteNodes:
    """`ports.nodes.Nodes` over agents whose addresses somebody else knows."""

    def __init__(self, addresses: Addresses, connections: AgentConnections) -> None:
        """Takes a function that returns the present address (host:port) of each node's agent."""
        self._addresses = addresses
        self._connections = connections

    def names(self) -> Sequence[ids.NodeName]:
        """Returns the names of all nodes that have an agent."""
        return sorted(self._addresses())

    def storage(self, node: ids.NodeName) -> RemoteNode:
        """Returns a node's storage.

        Raises:
            NotFound: There is no such node, or it has no agent.
        """
        address = self._addresses().get(node)
        if address is None:
            raise errors.NotFound(f"node {node} has no agent")
        return RemoteNode(node, address, self._connections)


class PeerSnapshots:
    """`ports.transfers.RemoteSnapshots` over the other nodes' agents."""

    def __init__(self, nodes: RemoteNodes) -> None:
        self._nodes = nodes

    def read(
        self, node: ids.NodeName, snapshot_id: ids.SnapshotId, progress: volumes.PullProgress | None
    ) -> transfers_port.Parts:
        """Reads what is not here yet."""
        try:
            storage = self._nodes.storage(node)
        except errors.NotFound as error:
            raise errors.Unreachable(str(error)) from error  # its pod may be back in a moment
        return storage.read_snapshot(snapshot_id, progress)
