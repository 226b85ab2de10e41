"""The command `mooring-csi`: controller, node plugin, or both in one process."""

import os
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import pydantic_settings
import typer

from mooring.agent import authority_folder, authorization, certificates
from mooring.api import keys
from mooring.domain import errors, ids
from mooring.ports import cluster as cluster_port
from mooring.runtime import logging, settings
from mooring_csi import compose, server

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_HARD_EXIT = 130
_CATALOGUE = "catalogue"
_FOLDERS = keys.CONFIG_FOLDERS_KEY

Socket = Annotated[str, typer.Option(help="CSI endpoint, for example unix:///csi/csi.sock.")]
Config = Annotated[
    Path, typer.Option(help="The node's settings (YAML); folders.yaml may lie beside them.")
]
NodeName = Annotated[str | None, typer.Option(envvar="NODE_NAME", help="The node's name.")]
Metrics = Annotated[
    str | None,
    typer.Option(
        envvar="MOORING_METRICS_LISTEN", help="host:port of the metrics; none: no metrics."
    ),
]
TlsFolder = Annotated[
    Path | None,
    typer.Option(help="Without a cluster: a folder of `make-tls`, which also holds the catalogue."),
]
Agents = Annotated[
    list[str] | None, typer.Option(help="Without a cluster: node=host:port, repeated.")
]


class ClusterSettings(pydantic_settings.BaseSettings):
    """Where Mooring's other processes are in the cluster; from the environment, MOORING_…."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="MOORING_")

    namespace: str = keys.NAMESPACE
    signer_address: str = f"mooring-operator.{keys.NAMESPACE}.svc:{keys.SIGNER_PORT}"
    token_file: Path = Path("/var/run/secrets/mooring.dev/identity/token")


@app.callback()
def common(
    log_level: Annotated[
        str, typer.Option(envvar="MOORING_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """The CSI driver of Mooring."""
    logging.set_up(log_level)


@app.command()
def controller(
    csi_socket: Socket = "unix:///csi/csi.sock",
    agents: Agents = None,
    tls_folder: TlsFolder = None,
) -> None:
    """Serves CSI Identity and Controller, and calls the nodes' agents."""
    role = authorization.Identity(authorization.Role.CONTROLLER)
    socket = server.socket_path(csi_socket)
    if tls_folder is not None:
        found = compose.without_cluster(role, tls_folder, tls_folder / _CATALOGUE)
        addresses = compose.static_agents(_pairs(agents or []))
    else:
        cluster = ClusterSettings()
        objects = compose.connect()
        found = _in_cluster(objects, cluster)
        addresses = compose.cluster_agents(objects, cluster.namespace)
    _serve(compose.build_controller(socket, found, addresses))


@app.command()
def node(  # noqa: PLR0913, PLR0917 - one parameter for each option of the command
    config: Config = Path("/etc/mooring/agent.yaml"),
    node_name: NodeName = None,
    csi_socket: Socket = "unix:///csi/csi.sock",
    kubelet_dir: Annotated[
        Path, typer.Option(help="The kubelet's own folder, as the kubelet sees it.")
    ] = Path("/var/lib/kubelet"),
    registration_dir: Annotated[
        Path | None,
        typer.Option(help="The kubelet's plugins_registry as this process sees it; none: nowhere."),
    ] = None,
    agent_listen: Annotated[
        str, typer.Option(help="host:port of the agent.")
    ] = f"0.0.0.0:{keys.AGENT_PORT}",
    metrics_listen: Metrics = None,
    agents: Agents = None,
    tls_folder: TlsFolder = None,
) -> None:
    """Serves CSI Identity and Node for the kubelet, and the node's agent."""
    options = compose.NodeOptions(
        settings=settings.load_agent_settings(config, node_name=node_name),
        csi_socket=server.socket_path(csi_socket),
        folders_file=config.with_name(_FOLDERS),
        registration_folder=registration_dir,
        kubelet_socket=str(kubelet_dir / "plugins" / keys.DRIVER / "csi.sock"),
        agent_listen=agent_listen,
        metrics_listen=metrics_listen,
    )
    role = authorization.Identity(authorization.Role.NODE, options.settings.node)
    if tls_folder is not None:
        found = compose.without_cluster(role, tls_folder, tls_folder / _CATALOGUE)
        addresses = compose.static_agents(_pairs(agents or []))
    else:
        cluster = ClusterSettings()
        objects = compose.connect()
        found = _in_cluster(objects, cluster)
        addresses = compose.cluster_agents(objects, cluster.namespace)
    _serve(compose.build_node(options, found, addresses))


@app.command()
def standalone(config: Config, csi_socket: Socket, node_name: NodeName = None) -> None:
    """Serves every CSI service for one node in one process, without a cluster."""
    options = compose.NodeOptions(
        settings=settings.load_agent_settings(config, node_name=node_name),
        csi_socket=server.socket_path(csi_socket),
        folders_file=config.with_name(_FOLDERS),
    )
    _serve(compose.build_standalone(options))


@app.command("make-tls")
def make_tls(folder: Path) -> None:
    """Makes a certificate authority in a folder, for processes without a cluster."""
    store = authority_folder.FolderAuthorityStore(folder)
    certificates.CertificateAuthority.load_or_create(store, datetime.now(UTC))
    typer.echo(f"certificate authority in {folder}")


def run() -> None:
    """Runs the command; an error of ours is one clear line and exit code 1."""
    try:
        app()
    except errors.MooringError as error:
        typer.echo(f"mooring-csi: {error}", err=True)
        sys.exit(1)


def _in_cluster(
    objects: cluster_port.ClusterObjects, cluster: ClusterSettings
) -> compose.Surroundings:
    return compose.in_cluster(
        objects, cluster.namespace, cluster.signer_address, cluster.token_file
    )


def _pairs(agents: list[str]) -> dict[ids.NodeName, str]:
    pairs = {}
    for text in agents:
        name, separator, address = text.partition("=")
        if not separator or not address:
            raise errors.InvalidInput(f"--agents {text!r} is not of the form node=host:port")
        pairs[ids.parse_node_name(name)] = address
    return pairs


def _serve(process: compose.Process) -> NoReturn:
    """Serves until SIGTERM or SIGINT, then ends the process; a second signal ends it at once."""
    # The kernel may give the signal to any thread, so the main one waits for a byte, not for it.
    told, teller = socket.socketpair()
    teller.setblocking(False)
    signals: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:
            os._exit(_HARD_EXIT)

    signal.set_wakeup_fd(teller.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    process.start()
    told.recv(1)
    process.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not `exit`, which waits for every thread: a call that hangs in the kernel would keep it all.
    os._exit(0)


if __name__ == "__main__":
    run()
