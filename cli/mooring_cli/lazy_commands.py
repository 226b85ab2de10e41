"""Commands whose modules are imported when they are asked for.

A backup shall not wait for what only the commands of a cluster need; showing what commands there
are imports all of them.
"""

import importlib
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

_MODULES = {
    "repo": "repo",
    "keygen": "keygen",
    "backup": "backup",
    "restore": "restore",
    "backups": "backups",
    "backup-now": "backup_now",
    "undelete": "undelete",
    "forget-node": "forget_node",
    "recover": "recover",
    "mover": "mover",
}
"""By command: a module with either an `app` of several commands, or one function of its name."""


class LazyCommands(TyperGroup):
    """The commands of `mooring`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns their names, in the order that help shows."""
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command, or None when there is none of that name."""
        if cmd_name not in self.commands and cmd_name in _MODULES:
            self.commands[cmd_name] = _load(cmd_name, _MODULES[cmd_name])
        return self.commands.get(cmd_name)


def _load(name: str, module_name: str) -> Any:
    module = importlib.import_module(f"mooring_cli.{module_name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, module_name))
    command = get_command(app)
    command.name = name
    return command
