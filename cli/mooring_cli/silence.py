"""What a command says when the folder of its repository does not answer, and how it gives up.

The thread that waits cannot be told, so the process is ended. Nothing is lost by that: every step
survives a kill.
"""

import os
from collections.abc import Callable
from typing import NoReturn

import typer

from mooring.domain import errors
from mooring_cli import exits

Told = Callable[[errors.Unreachable, bool], None]


def tell_people(error: errors.Unreachable, is_final: bool) -> None:
    """Says it on standard error, and ends the process when it is final."""
    if not is_final:
        tell_and_wait(error, is_final)
        return
    words = exits.words("mooring", error)
    end_with(lambda: typer.echo(words, err=True), error)


def tell_and_wait(error: errors.Unreachable, _: bool) -> None:
    """The same, and never gives up."""
    typer.echo(f"mooring: {error} It is waited for.", err=True)


def end_with(last_words: Callable[[], None], error: errors.Unreachable) -> NoReturn:
    """Ends the process as the error says, after some last words."""
    try:
        last_words()
    finally:
        os._exit(exits.exit_code(error))
