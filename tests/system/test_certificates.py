"""Certificates that live for seconds, renewed from the signer while calls come ten times a second.

The short form takes half a minute. MOORING_CERTIFICATES=long takes five minutes, with certificates
of 60 seconds as they would be in a cluster that is set up so.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from mooring.adapters.host.clock import SystemClock
from mooring.agent import authorization, certificates, client, renewal, server, service, signer
from mooring.agent._generated import agent_pb2_grpc
from mooring.domain import errors, ids
from mooring.ports import identities
from support import fake_nodes

LONG = os.environ.get("MOORING_CERTIFICATES") == "long"
LIFETIME = timedelta(seconds=60 if LONG else 8)
RUN_SECONDS = 300.0 if LONG else 25.0
CALLS_A_SECOND = 10
NODE = ids.NodeName("node-a")
ACCOUNTS = {"node": authorization.Role.NODE, "controller": authorization.Role.CONTROLLER}

pytestmark = [pytest.mark.system, pytest.mark.timeout(120 + RUN_SECONDS)]


class TokensNameTheirOwner:
    """`ports.identities.TokenReviewer` that believes what it reads."""

    def review(self, token: str, audience: str) -> identities.TokenOwner:
        return identities.TokenOwner(token, NODE if token == "node" else "")


@dataclass
class World:
    """An operator that signs, and the certificates and the agent of a node and a controller."""

    controller: renewal.CurrentCertificate
    node: renewal.CurrentCertificate
    agent_address: str


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        clock = SystemClock()
        content = certificates.CertificateAuthority.create(clock.now())
        authority = certificates.CertificateAuthority(content, leaf_lifetime=LIFETIME)
        address = stack.enter_context(_signing(authority, clock))

        def renewing(account: str) -> renewal.CurrentCertificate:
            token = tmp_path / account
            token.write_text(account)
            obtain = signer.obtain_from_operator(address, token, lambda: authority.certificate_pem)
            return stack.enter_context(_started(renewal.CurrentCertificate(obtain, clock)))

        node = renewing("node")
        storage = fake_nodes.FakeNode(NODE)

        def register(target: grpc.Server) -> None:
            agent_pb2_grpc.add_NodeAgentServicer_to_server(  # type: ignore[no-untyped-call]
                service.NodeAgent(NODE, storage, storage.read_snapshot), target
            )

        guard = service.CallGuard(authorization.AGENT_RULES)
        made, port = server.start("127.0.0.1:0", node, interceptors=[guard], register=[register])
        stack.callback(lambda: made.stop(0).wait())
        yield World(renewing("controller"), node, f"127.0.0.1:{port}")


@contextmanager
def _signing(authority: certificates.CertificateAuthority, clock: SystemClock) -> Iterator[str]:
    """Serves the signer as the operator does; its own certificate is renewed as well."""
    own = authorization.Identity(authorization.Role.OPERATOR)
    current = renewal.CurrentCertificate(lambda: authority.issue(own, clock.now()), clock)
    signing = signer.Signer(authority, TokensNameTheirOwner(), ACCOUNTS, clock)

    def register(target: grpc.Server) -> None:
        agent_pb2_grpc.add_IdentityServicer_to_server(signing, target)  # type: ignore[no-untyped-call]

    with _started(current):
        made, port = server.start(
            "127.0.0.1:0", current, register=[register], client_certificates=False
        )
        yield f"127.0.0.1:{port}"
        made.stop(0).wait()


@contextmanager
def _started(current: renewal.CurrentCertificate) -> Iterator[renewal.CurrentCertificate]:
    current.start()
    assert current.wait(30)
    yield current
    current.stop()


@contextmanager
def _connected(world: World) -> Iterator[client.RemoteNode]:
    connections = client.AgentConnections(world.controller)
    yield client.RemoteNode(NODE, world.agent_address, connections)
    connections.close()


def test_no_call_fails_while_certificates_are_renewed(world: World) -> None:
    first = world.controller.present
    assert first is not None
    calls, failures = 0, []
    seen: set[bytes] = set()
    with _connected(world) as kept:
        began = time.monotonic()
        while (next_at := began + calls / CALLS_A_SECOND) < began + RUN_SECONDS:
            time.sleep(max(0.0, next_at - time.monotonic()))
            calls += 1
            seen |= {
                each.present.certificate_pem
                for each in (world.controller, world.node)
                if each.present
            }
            try:
                if calls % 2:
                    kept.list_volumes()  # as the controller does: over a connection that is there
                else:
                    with _connected(world) as fresh:
                        fresh.list_volumes()
            except errors.MooringError as error:
                failures.append(f"call {calls}: {error}")
    sys.stderr.write(f"{calls} calls, {len(seen)} certificates, {len(failures)} failures\n")
    assert failures == []
    assert len(seen) >= 4
    _is_refused_by_now(world, first)


def _is_refused_by_now(world: World, first: certificates.Certificate) -> None:
    """The first certificate is over, so the calls went on by the others only."""
    old = renewal.CurrentCertificate(lambda: first, SystemClock())
    old.renew_when_due()
    with (
        _connected(World(old, world.node, world.agent_address)) as late,
        pytest.raises(errors.NeverReached),
    ):
        late.list_volumes()
