"""Logs of every long-running process: one JSON object a line on standard error."""

import logging
import sys
from typing import TextIO

import structlog

from mooring.domain import errors


def set_up(level: str = "info", stream: TextIO | None = None) -> None:
    """Sets up logging for this process.

    Args:
        level: debug, info, warning or error.
        stream: Where lines go; standard error when left out.

    Raises:
        InvalidInput: The level is none of these.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise errors.InvalidInput(f"{level!r} is no log level: use debug, info, warning or error")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
    )
