"""Making the driver known to the kubelet, which watches a folder for registration sockets.

The kubelet calls once when the socket appears (and again when it restarts itself). When it
refuses, it does not ask again until the socket is new, so a refusal makes the socket anew.
"""

import threading
from pathlib import Path

import grpc
import structlog

from mooring.api import keys
from mooring.domain import errors
from mooring_csi import server
from mooring_csi._generated import plugin_registration_pb2 as registration_pb2
from mooring_csi._generated import plugin_registration_pb2_grpc as registration_grpc

_log = structlog.get_logger("registration")
_RETRY_SECONDS = 5.0
_STOP_SECONDS = 1.0
_PLUGIN_TYPE = "CSIPlugin"
_SUPPORTED_VERSION = "1.0.0"
"""Of the kubelet's way to talk to drivers, not of CSI."""


class Registration(registration_grpc.RegistrationServicer):
    """Answers the kubelet's questions on one registration socket."""

    def __init__(self, endpoint: str) -> None:
        """Takes the driver's socket as the kubelet sees it."""
        self._endpoint = endpoint
        self.refused = threading.Event()
        self.registered = threading.Event()

    def GetInfo(  # noqa: N802 - the interface names the methods
        self, request: registration_pb2.InfoRequest, context: grpc.ServicerContext
    ) -> registration_pb2.PluginInfo:
        """Says who the driver is and where it serves."""
        return registration_pb2.PluginInfo(
            type=_PLUGIN_TYPE,
            name=keys.DRIVER,
            endpoint=self._endpoint,
            supported_versions=[_SUPPORTED_VERSION],
        )

    def NotifyRegistrationStatus(  # noqa: N802
        self, request: registration_pb2.RegistrationStatus, context: grpc.ServicerContext
    ) -> registration_pb2.RegistrationStatusResponse:
        """Hears how the registration went."""
        if request.plugin_registered:
            _log.info("registered with the kubelet", endpoint=self._endpoint)
            self.registered.set()
        else:
            _log.error("the kubelet refused the driver", error=request.error)
            self.refused.set()
        return registration_pb2.RegistrationStatusResponse()


class Registrar:
    """Keeps a registration socket in the kubelet's folder until it is stopped."""

    def __init__(
        self, folder: Path, endpoint: str, *, retry_seconds: float = _RETRY_SECONDS
    ) -> None:
        """Takes the kubelet's plugins_registry folder and the driver's socket as it sees it."""
        self._socket = folder / f"{keys.DRIVER}-reg.sock"
        self._endpoint = endpoint
        self._retry_seconds = retry_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self) -> None:
        """Makes the socket, in the background; call it once the driver serves."""
        self._thread.start()

    def stop(self) -> None:
        """Removes the socket."""
        self._stopping.set()
        self._thread.join(timeout=2 * _STOP_SECONDS + 1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            registration = Registration(self._endpoint)
            serving = server.SocketServer(
                self._socket,
                [lambda target, it=registration: _register(it, target)],  # type: ignore[misc]
            )
            try:
                serving.start()
            except (errors.MooringError, OSError) as error:
                _log.error("no registration socket", message=str(error))
            else:
                self._wait_for_refusal(registration)
                serving.stop(_STOP_SECONDS)
            self._stopping.wait(self._retry_seconds)

    def _wait_for_refusal(self, registration: Registration) -> None:
        while not self._stopping.is_set():
            if registration.refused.wait(_STOP_SECONDS):
                return


def _register(registration: Registration, target: grpc.Server) -> None:
    registration_grpc.add_RegistrationServicer_to_server(  # type: ignore[no-untyped-call]
        registration, target
    )
