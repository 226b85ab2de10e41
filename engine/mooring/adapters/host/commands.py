"""The only place that starts programs: argument lists, a bound on time, and a clear failure.

No shell ever sees an argument, and nothing is inherited but the three standard streams.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from mooring.domain import errors

_STDERR_TAIL_CHARACTERS = 600
DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""An mkfs or a mount that outlived a killed agent would race with its successor's own."""

_NOT_STARTED = 127
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Outcome:
    """What a program that ended left behind."""

    exit_code: int
    stdout: str
    stderr: str


def run(argv: Sequence[str], *, timeout_seconds: float = 120) -> str:
    """Runs a program that has to succeed, and returns its standard output.

    Raises:
        HostFailure: It is missing, took too long or failed; the message has the end of its
            standard error.
    """
    outcome = attempt(argv, timeout_seconds=timeout_seconds)
    if outcome.exit_code != 0:
        tail = outcome.stderr.strip()[-_STDERR_TAIL_CHARACTERS:]
        raise errors.HostFailure(f"{argv[0]} failed with exit code {outcome.exit_code}: {tail}")
    return outcome.stdout


def attempt(argv: Sequence[str], *, timeout_seconds: float = 120) -> Outcome:
    """Runs a program whose exit code is an answer.

    Raises:
        HostFailure: It is missing or took too long.
    """
    try:
        done = subprocess.run(
            [*DIE_WITH_US, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            env=_ENVIRONMENT,
            check=False,
        )
    except FileNotFoundError as error:
        raise errors.HostFailure("setpriv (util-linux) is not installed on this node") from error
    except subprocess.TimeoutExpired as error:
        raise errors.HostFailure(f"{argv[0]} did not end within {timeout_seconds:g} s") from error
    if done.returncode == _NOT_STARTED:
        raise errors.HostFailure(f"{argv[0]} is not installed on this node")
    return Outcome(
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
