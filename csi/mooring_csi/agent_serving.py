"""When a node's agent begins to serve the others, and how it ends."""

import threading

import grpc
import structlog

from mooring.agent import authorization, renewal, reporting
from mooring.agent import server as agent_server
from mooring.agent import service as agent_service
from mooring.agent._generated import agent_pb2_grpc
from mooring.domain import errors

_log = structlog.get_logger("csi")
_GRACE_SECONDS = 25.0
_RETRY_SECONDS = 5.0


class AgentServer:
    """The agent's own server. It waits for a certificate and for the first report.

    The report's first half carries out deletions that were recorded while the node was away, so
    they are done before anything is served. The kubelet's socket waits for neither.
    """

    def __init__(
        self,
        service: agent_service.NodeAgent,
        address: str,
        certificate: renewal.CurrentCertificate,
        reporter: reporting.Reporter,
    ) -> None:
        self._address = address
        self._service = service
        self._certificate = certificate
        self._reporter = reporter
        self._stopping = threading.Event()
        self._server: grpc.Server | None = None
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)

    def start(self) -> None:
        """Serves once it can, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more calls, and gives those under way time to end."""
        self._stopping.set()
        self._thread.join(timeout=2)
        if self._server is not None:
            self._server.stop(_GRACE_SECONDS).wait()

    def _run(self) -> None:
        for ready in (self._certificate.wait, self._reporter.wait_for_first):
            while not ready(1.0):
                if self._stopping.is_set():
                    return
        while not self._stopping.is_set():
            try:
                self._server, port = agent_server.start(
                    self._address,
                    self._certificate,
                    interceptors=[agent_service.CallGuard(authorization.AGENT_RULES)],
                    register=[self._register],
                )
            except errors.MooringError as error:
                _log.error("the agent does not serve yet", message=str(error))
                self._stopping.wait(_RETRY_SECONDS)
            else:
                _log.info("the agent serves", port=port)
                return

    def _register(self, target: grpc.Server) -> None:
        agent_pb2_grpc.add_NodeAgentServicer_to_server(  # type: ignore[no-untyped-call]
            self._service, target
        )
