"""How the command line shows results and progress: for people, or as JSON."""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer

from mooring.backup import progress
from mooring.domain import quantities
from mooring_cli import options

_ANY_WIDTH = 1000
"""Ids and commands are copied from tables, so no column is ever cut to a terminal's width."""


def show(values: Mapping[str, Any], output: options.OutputFormat) -> None:
    """Writes one result: a line per value, or a JSON object."""
    if output is options.OutputFormat.JSON:
        typer.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        typer.echo(f"{name:<{width}}  {_text(name, value)}")


def show_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: options.OutputFormat
) -> None:
    """Writes a list: a table of some columns, or a JSON array of everything."""
    if output is options.OutputFormat.JSON:
        typer.echo(json.dumps(list(rows), indent=2))
        return
    import rich.console  # noqa: PLC0415 - only where something is shown with it
    import rich.table  # noqa: PLC0415

    table = rich.table.Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_text(name, row.get(name)) for name in columns))
    rich.console.Console(width=_ANY_WIDTH).print(table)


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
    """Shows a progress bar on standard error when that is a terminal; Ctrl-C stops cleanly.

    Args:
        title: What is done.
        bytes_per_second: How fast it may read.
        measured: Whether it is known how much there is to do.
    """
    stopping = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopping.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with _reporting(title, measured=measured) as report:
            yield progress.Watch(report, stopping.is_set, 0.2, bytes_per_second)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
