"""The agent's port over real sockets and mutual TLS, on the loopback address."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from mooring.agent import authorization, certificates, client, renewal, server, service
from mooring.agent._generated import agent_pb2, agent_pb2_grpc
from mooring.domain import errors, extents, ids, volumes
from support import fake_nodes

NODE = ids.NodeName("node-a")
NOW = datetime.now(UTC)


@dataclass
class SettableClock:
    present: datetime = NOW

    def now(self) -> datetime:
        return self.present


@dataclass
class Authority:
    """A certificate authority and the clock that its certificates are made by."""

    clock: SettableClock = field(default_factory=SettableClock)
    authority: certificates.CertificateAuthority = field(
        default_factory=lambda: certificates.CertificateAuthority(
            certificates.CertificateAuthority.create(NOW)
        )
    )

    def current(self, role: str, node: str | None = None) -> renewal.CurrentCertificate:
        identity = authorization.Identity(
            authorization.Role(role), ids.NodeName(node) if node else None
        )
        current = renewal.CurrentCertificate(
            lambda: self.authority.issue(identity, self.clock.now()), self.clock
        )
        current.renew_when_due()
        return current


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def storage() -> fake_nodes.FakeNode:
    return fake_nodes.FakeNode("node-a")


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[grpc.Server] = []

    def start(current: renewal.CurrentCertificate, storage: fake_nodes.FakeNode) -> str:
        def register(target: grpc.Server) -> None:
            agent_pb2_grpc.add_NodeAgentServicer_to_server(
                service.NodeAgent(NODE, storage, storage.read_snapshot), target
            )

        made, port = server.start(
            "127.0.0.1:0",
            current,
            interceptors=[service.CallGuard(authorization.AGENT_RULES)],
            register=[register],
        )
        running.append(made)
        return f"127.0.0.1:{port}"

    yield start
    for item in running:
        item.stop(0).wait()


@pytest.fixture
def connect() -> Iterator[Callable[..., client.RemoteNode]]:
    opened: list[client.AgentConnections] = []

    def make(
        current: renewal.CurrentCertificate, address: str, node: str = "node-a"
    ) -> client.RemoteNode:
        connections = client.AgentConnections(current, greeting_timeout_seconds=0.7)
        opened.append(connections)
        return client.RemoteNode(ids.NodeName(node), address, connections)

    yield make
    for item in opened:
        item.close()


def make_spec(name: str = "pvc-1") -> volumes.VolumeSpec:
    return volumes.VolumeSpec(
        ids.volume_id_for(name), name, ids.PoolName("main"), 1 << 30, labels={"claim": "data"}
    )


def test_every_call_arrives_as_if_made_here(authority, storage, serve, connect):
    node = connect(
        authority.current("operator"), serve(authority.current("node", "node-a"), storage)
    )
    spec = make_spec()
    snapshot_id = ids.snapshot_id_for("s", spec.volume_id)

    assert node.create_volume(spec).spec == spec
    assert node.expand_volume(spec.volume_id, 2 << 30).spec.size_bytes == 2 << 30
    assert node.list_volumes() == storage.list_volumes()
    assert node.list_pools() == storage.list_pools()
    made = node.create_snapshot(snapshot_id, "s", freeze_timeout_seconds=3)
    assert [made] == node.list_snapshots() == storage.list_snapshots()
    assert node.finish_filling(spec.volume_id).state is volumes.VolumeState.READY
    node.delete_snapshot(snapshot_id)
    node.delete_volume(spec.volume_id)
    assert (storage.volumes, storage.snapshots) == ({}, {})


def test_what_is_kept_and_what_changed_arrive(authority, storage, serve, connect, monkeypatch):
    address = serve(authority.current("node", "node-a"), storage)
    operator = connect(authority.current("operator"), address)
    controller = connect(authority.current("controller"), address)
    spec = make_spec()
    operator.create_volume(spec)
    first, second = (ids.snapshot_id_for(name, spec.volume_id) for name in ("a", "b"))
    for snapshot_id in (first, second):
        operator.create_snapshot(snapshot_id, "s", freeze_timeout_seconds=3)
    base = volumes.BackupBase("r" * 32, "bk-1")
    operator.keep_base(first, base)
    assert {one.snapshot_id: one.base for one in operator.list_snapshots()} == {
        first: base,
        second: None,
    }
    with pytest.raises(errors.PermissionDenied):
        controller.keep_base(first, base)

    many = [extents.Range(number * 8192, 4096) for number in range(20_000)]

    @contextlib.contextmanager
    def read_ranges(snapshot_id, base_id):
        assert (snapshot_id, base_id) in {(second, first), (second, None)}
        yield extents.ImageRanges(1 << 30, base_id is not None, many if base_id else [])

    monkeypatch.setattr(storage, "read_ranges", read_ranges)
    with controller.read_ranges(second, first) as found:
        assert (found.size_bytes, found.trusted) == (1 << 30, True)
        assert list(found.ranges) == many
    with controller.read_ranges(second, None) as found:
        assert (found.size_bytes, found.trusted, list(found.ranges)) == (1 << 30, False, [])
    with controller.read_ranges(second, first) as found:
        assert next(iter(found.ranges)) == many[0]  # and the rest is not wanted
    with pytest.raises(errors.PermissionDenied), operator.read_ranges(second, first):
        pass


def test_a_stream_that_breaks_off_is_no_shorter_list(
    authority, storage, serve, connect, monkeypatch
):
    controller = connect(
        authority.current("controller"), serve(authority.current("node", "node-a"), storage)
    )
    snapshot_id = ids.snapshot_id_for("a", ids.volume_id_for("pvc-1"))

    def broken():
        for number in range(10_000):
            yield extents.Range(number * 8192, 4096)
        raise errors.HostFailure("the disk is gone")

    @contextlib.contextmanager
    def read_ranges(*_):
        yield extents.ImageRanges(1 << 30, True, broken())

    monkeypatch.setattr(storage, "read_ranges", read_ranges)
    with (
        pytest.raises(errors.HostFailure, match="the disk is gone"),
        controller.read_ranges(snapshot_id, None) as found,
    ):
        list(found.ranges)


def test_an_error_of_the_tree_keeps_class_and_message(authority, storage, serve, connect):
    node = connect(
        authority.current("controller"), serve(authority.current("node", "node-a"), storage)
    )
    spec = make_spec()
    node.create_volume(spec)
    storage.in_use.add(spec.volume_id)
    with pytest.raises(errors.InUse, match=f"{spec.volume_id} is mounted"):
        node.delete_volume(spec.volume_id)


def test_a_role_may_call_only_its_own_methods(authority, storage, serve, connect):
    node = connect(
        authority.current("controller"), serve(authority.current("node", "node-a"), storage)
    )
    node.create_volume(make_spec())
    with pytest.raises(errors.PermissionDenied, match="may not call"):
        node.finish_filling(make_spec().volume_id)
    assert "finish_filling" not in storage.calls


def test_another_nodes_agent_is_refused_though_its_address_is_right(
    authority, storage, serve, connect
):
    node = connect(
        authority.current("controller"), serve(authority.current("node", "node-b"), storage)
    )
    with pytest.raises(errors.NeverReached):
        node.create_volume(make_spec())
    assert storage.calls == []


@pytest.mark.parametrize("role", ["controller", "operator"])
def test_an_agent_is_not_impersonated_by_other_roles(role, authority, storage, serve, connect):
    node = connect(authority.current("controller"), serve(authority.current(role), storage))
    with pytest.raises(errors.NeverReached):
        node.list_volumes()


def test_a_certificate_of_another_authority_is_refused(authority, storage, serve, connect):
    address = serve(authority.current("node", "node-a"), storage)
    node = connect(Authority().current("controller"), address)
    with pytest.raises(errors.NeverReached):
        node.list_volumes()
    assert storage.calls == []


def test_a_caller_without_a_certificate_is_refused(authority, storage, serve):
    address = serve(authority.current("node", "node-a"), storage)
    credentials = grpc.ssl_channel_credentials(authority.authority.certificate_pem)
    options = (("grpc.ssl_target_name_override", "node-a.node.mooring.dev"),)
    with (
        grpc.secure_channel(address, credentials, options=options) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        agent_pb2_grpc.NodeAgentStub(channel).ListVolumes(agent_pb2.ListRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert storage.calls == []


def test_a_node_agent_cannot_call_another(authority, storage, serve, connect):
    address = serve(authority.current("node", "node-a"), storage)
    node = connect(authority.current("node", "node-b"), address)
    with pytest.raises(errors.PermissionDenied):
        node.delete_volume(make_spec().volume_id)
    assert storage.calls == []


def test_nothing_listens_is_known_to_have_changed_nothing(authority, connect):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        node = connect(authority.current("controller"), f"127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(errors.NeverReached):
            node.create_volume(make_spec())


def test_a_connection_lost_after_the_call_was_sent_may_have_acted(authority, serve, connect):
    class DiesWhileCreating(fake_nodes.FakeNode):
        def create_volume(self, spec: volumes.VolumeSpec) -> volumes.VolumeRecord:
            stopping.append(running[0].stop(None))
            return super().create_volume(spec)

    running: list[grpc.Server] = []
    stopping: list[object] = []
    storage = DiesWhileCreating("node-a")
    made, port = server.start(
        "127.0.0.1:0",
        authority.current("node", "node-a"),
        interceptors=[service.CallGuard(authorization.AGENT_RULES)],
        register=[
            lambda target: agent_pb2_grpc.add_NodeAgentServicer_to_server(
                service.NodeAgent(NODE, storage, storage.read_snapshot), target
            )
        ],
    )
    running.append(made)
    node = connect(authority.current("controller"), f"127.0.0.1:{port}")
    with pytest.raises(errors.Unreachable) as caught:
        node.create_volume(make_spec())
    assert not isinstance(caught.value, errors.NeverReached)


def test_certificates_renew_at_half_their_life_without_losing_calls(
    authority, storage, serve, connect
):
    issued = NOW - timedelta(hours=12, minutes=1)  # TLS itself goes by the real clock
    authority.clock.present = issued
    serving, calling = authority.current("node", "node-a"), authority.current("controller")
    node = connect(calling, serve(serving, storage))
    node.create_volume(make_spec("before"))
    first = calling.present

    authority.clock.present = issued + timedelta(hours=11)
    calling.renew_when_due()
    assert calling.present is first, "renewed before half of the life was over"

    authority.clock.present = NOW
    calling.renew_when_due()
    serving.renew_when_due()
    assert calling.present is not first
    node.create_volume(make_spec("after"))
    assert len(storage.volumes) == 2


def test_without_a_certificate_nothing_is_sent(authority):
    def refuse() -> certificates.Certificate:
        raise errors.Unreachable("the operator does not answer")

    current = renewal.CurrentCertificate(refuse, authority.clock)
    node = client.RemoteNode(NODE, "127.0.0.1:1", client.AgentConnections(current))
    with pytest.raises(errors.NeverReached, match="no certificate yet"):
        node.create_volume(make_spec())
