"""How a process gets its certificate from the operator: the service, and the client of it.

The caller proves itself by its service account token, bound to this audience alone, so a token
taken from here is of no use at the API server. The API server's word on the token, not the
request, names the account and the node.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc

from mooring.agent import authorization, certificates, failures, renewal, server
from mooring.agent import service as call_guard
from mooring.agent._generated import agent_pb2, agent_pb2_grpc
from mooring.api import keys
from mooring.domain import errors, ids
from mooring.ports import clock as clock_port
from mooring.ports import identities as identities_port

_TIMEOUT_SECONDS = 15.0

Accounts = Mapping[str, authorization.Role]


class Signer(agent_pb2_grpc.IdentityServicer):
    """Signs certificates for Mooring's own service accounts."""

    def __init__(
        self,
        authority: certificates.CertificateAuthority,
        reviewer: identities_port.TokenReviewer,
        accounts: Accounts,
        clock: clock_port.Clock,
    ) -> None:
        """Takes the role of each account, by `system:serviceaccount:<namespace>:<name>`."""
        self._authority = authority
        self._reviewer = reviewer
        self._accounts = accounts
        self._clock = clock

    def Sign(  # noqa: N802 - the interface names the method
        self, request: agent_pb2.SignRequest, context: grpc.ServicerContext
    ) -> agent_pb2.SignResponse:
        """Signs for the key of the request and the names of the token."""
        identity = self.identity_of(request.token)
        leaf = self._authority.sign(request.certificate_request, identity, self._clock.now())
        return agent_pb2.SignResponse(certificate=leaf, authority=self._authority.certificate_pem)

    def identity_of(self, token: str) -> authorization.Identity:
        """Returns the identity that a token proves.

        Raises:
            PermissionDenied: It proves none of ours.
        """
        owner = self._reviewer.review(token, keys.TOKEN_AUDIENCE)
        role = self._accounts.get(owner.account)
        if role is None:
            raise errors.PermissionDenied(f"account {owner.account} gets no certificate")
        if role is not authorization.Role.NODE:
            return authorization.Identity(role)
        if not owner.node:
            raise errors.PermissionDenied("the token does not say on which node its pod runs")
        return authorization.Identity(role, ids.parse_node_name(owner.node))


def serve(
    address: str, current: renewal.CurrentCertificate, service: Signer
) -> tuple[grpc.Server, int]:
    """Serves the signer; call it once there is a certificate.

    Returns:
        The server and its port.

    Raises:
        HostFailure: The address cannot be bound.
    """
    return server.start(
        address,
        current,
        interceptors=[call_guard.CallGuard(None)],
        register=[functools.partial(agent_pb2_grpc.add_IdentityServicer_to_server, service)],
        client_certificates=False,  # who has none yet comes here for one
    )


def obtain_from_operator(
    address: str, token_file: Path, authority: Callable[[], bytes]
) -> Callable[[], certificates.Certificate]:
    """Returns what obtains a certificate from the operator's signer.

    Args:
        address: `host:port` of the operator's Service.
        token_file: The projected service account token; read each time, since it is rotated.
        authority: Returns the authority's certificate (PEM), from the API server: it is what
            proves the operator to us.
    """

    def obtain() -> certificates.Certificate:
        key = certificates.PrivateKey()
        request = agent_pb2.SignRequest(
            certificate_request=key.request_pem(), token=_read_token(token_file)
        )
        answer = _sign(address, authority(), request)
        return key.certificate(answer.certificate, answer.authority)

    return obtain


def _sign(
    address: str, authority_pem: bytes, request: agent_pb2.SignRequest
) -> agent_pb2.SignResponse:
    operator = authorization.Identity(authorization.Role.OPERATOR)
    options = (("grpc.ssl_target_name_override", operator.dns_name),)
    credentials = grpc.ssl_channel_credentials(root_certificates=authority_pem)
    with grpc.secure_channel(address, credentials, options=options) as channel:
        stub = agent_pb2_grpc.IdentityStub(channel)  # type: ignore[no-untyped-call]
        try:
            answer: agent_pb2.SignResponse = stub.Sign(request, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as failure:
            raise failures.error_of(failure, f"the operator at {address}") from failure
        return answer


def _read_token(token_file: Path) -> str:
    try:
        return token_file.read_text().strip()
    except OSError as error:
        raise errors.Unreachable(f"the token in {token_file} cannot be read") from error
