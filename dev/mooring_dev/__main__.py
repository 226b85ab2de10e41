"""`python -m mooring_dev`: prerequisites, toolchain, images and the development cluster."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mooring_dev import prerequisites as machine
from mooring_dev import toolchain as tools
from mooring_dev.cluster import lifecycle, machines
from mooring_dev.images import loading, sets
from mooring_dev.kubectl import KubectlError, WaitError
from mooring_dev.steps import DevError, step

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cluster_app = typer.Typer(no_args_is_help=True, help="The development cluster of this checkout.")
images_app = typer.Typer(no_args_is_help=True, help="Container images, made without a registry.")
app.add_typer(cluster_app, name="cluster")
app.add_typer(images_app, name="images")


@app.command()
def prerequisites() -> None:
    """Check the machine, and install the Debian packages that are missing."""
    machine.check_machine()
    machine.install_missing()


@app.command()
def toolchain() -> None:
    """Build every Go tool that is not in the cache (cold: about 15 minutes)."""
    tools.build_all()


@app.command()
def tool_path(program: str) -> None:
    """Print the path of one built program, building it first when needed."""
    print(tools.tool_path(program))


@images_app.command("build")
def images_build() -> None:
    """Build every image that is not in the cache: the product, Postgres, the sidecars."""
    for archive in sets.everything():
        print(archive)


@images_app.command("load")
def images_load(product_only: Annotated[bool, typer.Option("--product-only")] = False) -> None:
    """Build the images and import them into every node of the running cluster."""
    archives = [sets.product_archive()] if product_only else sets.everything()
    with step("loading images into the nodes", 20):
        loading.load_everywhere(lifecycle.current(), archives)


@cluster_app.command()
def up(nodes: Annotated[int, typer.Option(help="How many nodes.")] = 2) -> None:
    """Start a fresh cluster; what an earlier one left is removed first."""
    machine.check_machine()
    lifecycle.up(nodes)


@cluster_app.command()
def down() -> None:
    """Stop the cluster and remove all that it made."""
    lifecycle.down()


@cluster_app.command()
def status() -> None:
    """Show which machines run; exit 1 when the cluster does not."""
    seen = lifecycle.status()
    table = Table("machine", "state")
    for name, is_on in {"control": seen.cluster, **seen.nodes}.items():
        table.add_row(name, "on" if is_on else "off")
    Console().print(table)
    raise typer.Exit(0 if seen.cluster and all(seen.nodes.values()) else 1)


@cluster_app.command()
def kubeconfig() -> None:
    """Print the path of the administrator's kubeconfig."""
    print(lifecycle.current().admin_kubeconfig)


@cluster_app.command()
def load_image(archives: list[Path]) -> None:
    """Import image archives into every node."""
    loading.load_everywhere(lifecycle.current(), archives)


@cluster_app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(node: str, command: list[str]) -> None:
    """Run a command on a node, as root."""
    prefix = machines.inside_node(lifecycle.node_named(lifecycle.current(), node))
    raise typer.Exit(subprocess.run([*prefix, *command], check=False).returncode)


@cluster_app.command("kubectl", context_settings={"ignore_unknown_options": True})
def kubectl_command(arguments: list[str]) -> None:
    """Run the cluster's own kubectl."""
    kubectl = lifecycle.kubectl_of(lifecycle.current())
    os.execv(kubectl.binary, ["kubectl", f"--kubeconfig={kubectl.kubeconfig}", *arguments])


@cluster_app.command()
def node_stop(node: str) -> None:
    """Switch a node off, as if its plug were pulled."""
    lifecycle.stop_node(node)


@cluster_app.command()
def node_start(node: str) -> None:
    """Switch a node on again and wait until it is ready."""
    lifecycle.start_node(node)


def main() -> None:
    """Runs the command line; an expected failure is one line and exit code 1."""
    try:
        app()
    except (DevError, KubectlError, WaitError) as error:
        print(f"mooring_dev: {error}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
