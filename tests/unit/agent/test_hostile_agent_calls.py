"""Calls to an agent and the signer that no peer makes: a clear error, and nothing is changed."""

import base64
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mooring.agent import authorization, certificates, failures, renewal, server, service, signer
from mooring.agent._generated import agent_pb2 as pb
from mooring.agent._generated import agent_pb2_grpc
from mooring.domain import errors, ids, volumes
from mooring.ports.identities import TokenOwner
from mooring.volumes.local.node import LocalNode
from support import fake_storage, spoiling
from support.fake_storage import GIB

CODE = grpc.StatusCode
NODE, READER = ids.NodeName("node-a"), ids.NodeName("node-b")
VOLUME, OTHER = (ids.volume_id_for(name) for name in ("one", "other"))
SNAPSHOT, BASE = (ids.snapshot_id_for(name, VOLUME) for name in ("s", "base"))
NEW = ids.snapshot_id_for("new", VOLUME)
ACCOUNT = "system:serviceaccount:mooring-system:mooring-csi-node"
TOKEN = f"{ACCOUNT}|node-a"
STRINGS = (
    *spoiling.STRINGS, VOLUME, OTHER, SNAPSHOT, BASE, NODE, READER, "fast", "Filesystem", "Block",
    "ext4", "btrfs", "00", "0" * 63, "zz" * 32, "ab" * 32, "ab" * 5000,
)  # fmt: skip
SIGNER_STRINGS = (*spoiling.STRINGS, TOKEN, "|", f"{ACCOUNT}|", f"{ACCOUNT}|../x", "nobody|node-a")
METHODS = sorted(m.name for m in pb.DESCRIPTOR.services_by_name["NodeAgent"].methods)
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Reviewer:
    """The API server: tokens are `account|node`, and the audience must be ours."""

    def review(self, token: str, audience: str) -> TokenOwner:
        if audience != "mooring.dev" or "|" not in token:
            raise errors.PermissionDenied("the token is not valid here")
        account, _, node = token.partition("|")
        return TokenOwner(account, node)


@dataclass
class Authority:
    """Certificates for everybody."""

    authority: certificates.CertificateAuthority = field(
        default_factory=lambda: certificates.CertificateAuthority(
            certificates.CertificateAuthority.create(datetime.now(UTC))
        )
    )

    def current(self, identity: authorization.Identity) -> renewal.CurrentCertificate:
        found = renewal.CurrentCertificate(
            lambda: self.authority.issue(identity, datetime.now(UTC)), Clock()
        )
        found.renew_when_due()
        return found


class Agent:
    """A node in memory and the channels that its peers have to it."""

    def __init__(self) -> None:
        self.world = fake_storage.World()
        self.local: LocalNode = self.world.node()
        self.channels: dict[authorization.Role, grpc.Channel] = {}

    def stub(self, method: str) -> Callable[[Any], Any]:
        """Returns a method as a peer calls it that may."""
        full = f"/mooring.agent.v1.NodeAgent/{method}"
        rules = authorization.AGENT_RULES.methods
        role = next(role for role in authorization.Role if full in rules[role])
        stub = agent_pb2_grpc.NodeAgentStub(self.channels[role])  # type: ignore[no-untyped-call]
        found: Callable[[Any], Any] = getattr(stub, method)
        return found

    def settle(self) -> None:
        """Goes back to one volume with two snapshots, the later of which another node may read."""
        kernel, local = self.world.kernel, self.local
        for status in local.list_volumes():
            if status.record.spec.volume_id != VOLUME:
                self.world.records.remove_volume(status.record.spec.volume_id)
                self.world.images.remove(ids.ImageId(status.record.spec.volume_id))
        for record in local.list_snapshots():
            if record.snapshot_id not in (SNAPSHOT, BASE) or record.base is not None:
                local.delete_snapshot(record.snapshot_id)
        assert not kernel.mounts
        local.create_volume(
            fake_storage.spec(
                "one", size_bytes=self._size_bytes(), filesystem=volumes.FilesystemType.EXT4
            )
        )
        for number, snapshot_id in enumerate((BASE, SNAPSHOT)):
            if snapshot_id not in self.world.records.snapshots:
                self.world.images.write(ids.ImageId(VOLUME), number << 20, b"new" * 10)
                local.create_snapshot(snapshot_id, "s", freeze_timeout_seconds=5)
        local.offer_snapshot(SNAPSHOT, READER)

    def _size_bytes(self) -> int:
        present = self.world.records.volumes.get(VOLUME)
        return present.spec.size_bytes if present else GIB


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def agent(authority: Authority) -> Iterator[Agent]:
    made = Agent()
    agent_service = service.NodeAgent(NODE, made.local, made.local.outgoing.read)
    serving, port = server.start(
        "127.0.0.1:0",
        authority.current(authorization.Identity(authorization.Role.NODE, NODE)),
        interceptors=[service.CallGuard(authorization.AGENT_RULES)],
        register=[functools.partial(agent_pb2_grpc.add_NodeAgentServicer_to_server, agent_service)],
    )
    name = authorization.Identity(authorization.Role.NODE, NODE).dns_name
    for role in authorization.Role:
        node = READER if role is authorization.Role.NODE else None
        present = authority.current(authorization.Identity(role, node)).present
        assert present
        credentials = grpc.ssl_channel_credentials(
            present.authority_pem, present.key_pem, present.certificate_pem
        )
        options = (("grpc.ssl_target_name_override", name),)
        made.channels[role] = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
    yield made
    for channel in made.channels.values():
        channel.close()
    serving.stop(0).wait()


def template(agent: Agent, method: str) -> Message:
    """A request that succeeds."""
    of_snapshot = {"snapshot_id": SNAPSHOT}
    given_fields: dict[str, dict[str, Any]] = {
        "CreateVolume": {"spec": pb.VolumeSpec(
            volume_id=OTHER, name="other", pool="fast", size_bytes=GIB, mode="Filesystem",
            filesystem="ext4", sector_size_bytes=4096, source_snapshot_id=SNAPSHOT,
            labels={"claim": "data"},
        )},
        "DeleteVolume": {"volume_id": OTHER},
        "ExpandVolume": {"volume_id": VOLUME, "size_bytes": GIB},
        "FinishFilling": {"volume_id": VOLUME},
        "CreateSnapshot": {"snapshot_id": NEW, "name": "new", "freeze_timeout_seconds": 5.0},
        "KeepBase": {**of_snapshot, "base": pb.BackupBase(repository_id="r" * 32, backup_id="bk")},
        "DeleteSnapshot": {"snapshot_id": ids.snapshot_id_for("absent", VOLUME)},
        "ReadRanges": {**of_snapshot, "base_snapshot_id": BASE},
        "OfferSnapshot": {**of_snapshot, "node": READER},
        "ReadSnapshot": {**of_snapshot, "progress": pb.PullProgress(
            taken_at=agent.world.records.snapshots[SNAPSHOT].created_at,
            source_size_bytes=GIB, done_bytes=1 << 20, chain="ab" * 32,
        )},
    }  # fmt: skip
    message: Message = getattr(pb, _request_name(method))(**given_fields.get(method, {}))
    return message


def _request_name(method: str) -> str:
    found = pb.DESCRIPTOR.services_by_name["NodeAgent"].methods_by_name[method]
    return str(found.input_type.name)


@pytest.mark.parametrize("method", METHODS)
def test_the_request_that_is_spoilt_would_succeed(agent: Agent, method: str) -> None:
    agent.settle()
    assert spoiling.outcome(agent.stub(method), template(agent, method)) == (CODE.OK, "")


@pytest.mark.parametrize("method", [m for m in METHODS if not m.startswith(("Hello", "List"))])
@given(data=st.data())
@SETTINGS
def test_nothing_in_a_request_is_a_fault_of_the_agent(
    agent: Agent, method: str, data: st.DataObject
) -> None:
    agent.settle()
    request = template(agent, method)
    for _ in range(data.draw(st.integers(1, 2))):
        spoiling.Spoiler(data.draw, STRINGS).spoil(request)
    before = agent.world.state()
    code = clear_outcome(agent.stub(method), request)
    if method.startswith(("Read", "Offer")) or code is not CODE.OK:
        assert agent.world.state() == before


def clear_outcome(call: Callable[[Any], Any], request: Message | bytes) -> grpc.StatusCode:
    """Calls; an error is one of ours, which its caller raises again, with words."""
    code, details, trailing = spoiling.ending(call, request)
    if code is not CODE.OK:
        assert code is CODE.FAILED_PRECONDITION, (code, details, request)
        assert failures.ERROR_KEY in trailing, request
        assert details, request
    return code


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\xff\x0f"]
)
def test_bytes_that_are_no_message_are_refused(agent: Agent, data: bytes) -> None:
    channel = agent.channels[authorization.Role.CONTROLLER]
    call = channel.unary_unary("/mooring.agent.v1.NodeAgent/DeleteVolume")
    assert clear_outcome(call, data) is CODE.FAILED_PRECONDITION


@pytest.fixture(scope="module")
def sign(authority: Authority) -> Iterator[Callable[[Any], Any]]:
    accounts = {ACCOUNT: authorization.Role.NODE}
    identity = authorization.Identity(authorization.Role.OPERATOR)
    serving, port = signer.serve(
        "127.0.0.1:0",
        authority.current(identity),
        signer.Signer(authority.authority, Reviewer(), accounts, Clock()),
    )
    options = (("grpc.ssl_target_name_override", identity.dns_name),)
    credentials = grpc.ssl_channel_credentials(authority.authority.certificate_pem)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        yield channel.unary_unary(
            "/mooring.agent.v1.Identity/Sign",
            request_serializer=lambda one: (
                one if isinstance(one, bytes) else one.SerializeToString()
            ),
            response_deserializer=pb.SignResponse.FromString,
        )
    serving.stop(0).wait()


REQUEST = certificates.PrivateKey().request_pem()


def _pem(der: bytes) -> bytes:
    lines = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n%s-----END CERTIFICATE REQUEST-----\n" % lines


@st.composite
def spoilt_requests(draw: st.DrawFn) -> bytes:
    """A certificate request with some bytes of it replaced, or cut, or nothing like one."""
    der = bytearray(base64.b64decode(b"".join(REQUEST.splitlines()[1:-1])))
    for _ in range(draw(st.integers(1, 3))):
        der[draw(st.integers(0, len(der) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.one_of(st.just(len(der)), st.integers(0, len(der))))
    return draw(st.one_of(st.just(_pem(bytes(der[:cut]))), st.sampled_from(spoiling.BYTES)))


def test_a_request_that_is_spoilt_would_be_signed(sign: Callable[[Any], Any]) -> None:
    answer = sign(pb.SignRequest(certificate_request=REQUEST, token=TOKEN))
    assert answer.certificate.startswith(b"-----BEGIN CERTIFICATE")


@given(data=st.data())
@settings(SETTINGS, max_examples=300)
def test_nothing_in_a_request_is_a_fault_of_the_signer(
    sign: Callable[[Any], Any], data: st.DataObject
) -> None:
    request = pb.SignRequest(certificate_request=REQUEST, token=TOKEN)
    for _ in range(data.draw(st.integers(1, 2))):
        spoiling.Spoiler(data.draw, SIGNER_STRINGS, spoilt_requests()).spoil(request)
    clear_outcome(sign, request)


def test_bytes_that_are_no_message_are_not_signed(sign: Callable[[Any], Any]) -> None:
    assert clear_outcome(sign, b"\xff\xff\xff") is CODE.FAILED_PRECONDITION
