"""The object stores of the tests, each started when it is first asked for."""

import contextlib
from functools import cached_property
from pathlib import Path
from types import TracebackType

from mooring_dev import s3_server
from support import azure_server


class Servers:
    """Real servers on loopback, for the time of a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()

    @cached_property
    def s3(self) -> s3_server.S3Server:
        return self._stack.enter_context(s3_server.running(self._folder / "s3"))

    @cached_property
    def azure(self) -> azure_server.AzureServer:
        return self._stack.enter_context(azure_server.running(self._folder / "azure"))

    def __enter__(self) -> "Servers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
