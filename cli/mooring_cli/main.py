"""The command `mooring`, which is also the kubectl plugin `kubectl mooring`.

Errors are translated here once: the cause, what to try next, and a stable exit code.
"""

import sys

import typer

from mooring.domain import errors
from mooring_cli import exits, lazy_commands, stopping

app = typer.Typer(
    cls=lazy_commands.LazyCommands,
    help=(
        "Backups of volumes, devices and images, without a cluster too; deleted volumes back; "
        "nodes that are gone for good."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Makes it a group without a command of its own."""


def run() -> None:
    """Entry point of `mooring`."""
    _run("mooring")


def run_plugin() -> None:
    """Entry point of `kubectl-mooring`."""
    _run("kubectl mooring")


def _run(name: str) -> None:
    try:
        with stopping.stoppable(lambda: stopping.complain(name), interrupts=True):
            app(prog_name=name)
    except errors.MooringError as error:
        print(exits.words(name, error), file=sys.stderr)  # noqa: T201 - standard error is the interface
        sys.exit(exits.exit_code(error))


if __name__ == "__main__":
    run()
