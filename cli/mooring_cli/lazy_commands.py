"""Commands whose modules are imported when they are asked for.

A backup shall not wait for what only the commands of a cluster need; showing what commands there
are imports all of them.
"""

import contextlib
import enum
import importlib
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

_MODULES = {
    "repo": "repo",
    "keygen": "keygen",
    "backup": "backup",
    "restore": "restore",
    "extract": "extract",
    "mount": "mount",
    "backups": "backups",
    "repair-block": "repair_block",
    "backup-now": "backup_now",
    "undelete": "undelete",
    "forget-node": "forget_node",
    "recover": "recover",
    "mover": "mover",
}
"""By command: a module with either an `app` of several commands, or one function of its name."""


class LazyCommands(TyperGroup):
    """The commands of `mooring`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the options before the command's name."""
        return [_converted_plainly(parameter) for parameter in super().get_params(ctx)]

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns their names, in the order that help shows."""
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command, or None when there is none of that name."""
        if cmd_name not in self.commands and cmd_name in _MODULES:
            self.commands[cmd_name] = _load(ctx, cmd_name, _MODULES[cmd_name])
        return self.commands.get(cmd_name)


def _load(ctx: Any, name: str, module_name: str) -> Any:
    module = importlib.import_module(f"mooring_cli.{module_name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, module_name))
    command: Any = get_command(app)
    command.name = name
    for one in (command, *getattr(command, "commands", {}).values()):
        for parameter in one.get_params(ctx):
            _converted_plainly(parameter)
    return command


def _converted_plainly(parameter: Any) -> Any:
    """Keeps typer from loading pydantic for what needs no more than a call.

    typer makes its converters late and keeps them in this attribute; a typer without it would
    only start more slowly.
    """
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    plain = isinstance(kind, type) and issubclass(kind, bool | str | Path | enum.StrEnum)
    single = parameter.nargs == 1 and not getattr(parameter, "multiple", False)
    if plain and single and getattr(parameter, "_runtime_param", None) is None:
        parameter._runtime_param = _Plain(kind)
    return parameter


class _Plain:
    """Converts by a call; what cannot be converted is left to typer, which says why."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns the value as a parameter's type."""
        if value is None or isinstance(value, self._kind):
            return value
        if self._kind is not bool:
            with contextlib.suppress(TypeError, ValueError):
                return self._kind(value)
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)
