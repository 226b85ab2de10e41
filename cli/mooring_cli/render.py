"""How the command line shows results and progress: for people, or as JSON."""

import contextlib
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import typer

from mooring.backup import progress
from mooring.domain import quantities
from mooring_cli import options, stopping


def show(values: Mapping[str, Any], output: options.OutputFormat) -> None:
    """Writes one result: a line per value, or a JSON object."""
    if output is options.OutputFormat.JSON:
        typer.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {_text(name, value)}")


def show_with_list(
    values: Mapping[str, Any], name: str, entries: Iterable[Mapping[str, Any]]
) -> None:
    """Writes a result as JSON, with a list at its end that may be too long to be held."""
    typer.echo(json.dumps(values, indent=2).removesuffix("\n}") + f',\n  "{name}": [', nl=False)
    separator = ""
    for entry in entries:
        text = textwrap.indent(json.dumps(entry, indent=2), "    ")
        typer.echo(f"{separator}\n{text}", nl=False)
        separator = ","
    typer.echo("\n  ]\n}")


def show_table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], output: options.OutputFormat
) -> None:
    """Writes a list: a table of some columns, or a JSON array of everything.

    No column is ever cut: ids and commands are copied from tables.

    Args:
        rows: What is in it; gone through twice, and never held whole for a table.
        columns: What a table has of each.
        output: Which of both.
    """
    if output is options.OutputFormat.JSON:
        typer.echo(json.dumps(list(rows), indent=2))
        return
    widths = [len(name) for name in columns]
    for row in rows:
        cells = (_text(name, row.get(name)) for name in columns)
        widths = [max(width, len(cell)) for width, cell in zip(widths, cells, strict=True)]
    typer.echo(typer.style(_line(columns, widths), bold=True))
    for row in rows:
        typer.echo(_line([_text(name, row.get(name)) for name in columns], widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _text(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and name.startswith("bytes"):
        return quantities.show_bytes(value)
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "-"
    return str(value)


@contextlib.contextmanager
def watching(
    title: str, bytes_per_second: int | None = None, *, measured: bool = True
) -> Iterator[progress.Watch]:
    """Shows a progress bar on standard error when that is a terminal; Ctrl-C stops the work.

    Args:
        title: What is done.
        bytes_per_second: How fast it may read.
        measured: Whether it is known how much there is to do.
    """
    with (
        stopping.stoppable(lambda: stopping.complain("mooring")) as asked,
        _reporting(title, measured=measured) as report,
    ):
        yield progress.Watch(report, asked.is_set, 0.2, bytes_per_second)


@contextlib.contextmanager
def _reporting(title: str, *, measured: bool) -> Iterator[Callable[[progress.Progress], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    import rich.console  # noqa: PLC0415 - it takes long to load
    import rich.progress  # noqa: PLC0415

    columns = (
        rich.progress.TextColumn(title),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.DownloadColumn(binary_units=True),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)

        def report(now: progress.Progress) -> None:
            total = now.total * now.passes if measured else None
            bar.update(task, total=total, completed=now.done)

        yield report
