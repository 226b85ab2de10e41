"""The TCP server of an agent, and of the signer: TLS whose certificate renews itself."""

from collections.abc import Callable, Sequence
from concurrent import futures

import grpc

from mooring.agent import certificates, renewal
from mooring.domain import errors

_WORKERS = 16
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


def start(
    address: str,
    current: renewal.CurrentCertificate,
    *,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
    register: Sequence[Callable[[grpc.Server], None]] = (),
    client_certificates: bool = True,
) -> tuple[grpc.Server, int]:
    """Starts a server; call it once there is a certificate.

    Args:
        address: `host:port`; port 0 takes a free one.
        current: Its certificate; each new handshake uses the newest.
        interceptors: What happens around every call.
        register: Functions that add a service to the server.
        client_certificates: Whether peers must prove an identity of ours.

    Returns:
        The server and its port.

    Raises:
        HostFailure: The address cannot be bound, or there is no certificate.
    """
    present = current.present
    if present is None:
        raise errors.HostFailure("there is no certificate yet")
    server = grpc.server(
        futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="agent"),
        interceptors=tuple(interceptors),
        options=_OPTIONS,
    )
    for add in register:
        add(server)
    credentials = grpc.dynamic_ssl_server_credentials(
        _configuration(present),
        lambda: _configuration(current.present or present),
        require_client_authentication=client_certificates,
    )
    try:
        port = int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise errors.HostFailure(f"cannot listen on {address}") from error
    server.start()
    return server, port


def _configuration(certificate: certificates.Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificate.key_pem, certificate.certificate_pem)],
        root_certificates=certificate.authority_pem,
    )
