"""What a plan knows of a mover: the Job that carries one volume's bytes. Pure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class MoverState(enum.Enum):
    """Where a mover is."""

    ABSENT = "Absent"
    PENDING = "Pending"  # no pod runs yet
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # its retries are used up, or its error is permanent
    LEAVING = "Leaving"  # being deleted


@dataclass(frozen=True)
class Mover:
    """A mover as the API shows it.

    Attributes:
        state: See `MoverState`.
        attempts: Pods of it that failed.
        reason: One word for its failure, or for why it is pending.
        message: The same in words.
        progress: Its last progress line; empty before.
        result: What it left behind when it ended; empty before.
    """

    state: MoverState
    attempts: int = 0
    reason: str = ""
    message: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)


ABSENT = Mover(MoverState.ABSENT)
