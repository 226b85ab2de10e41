"""The command line in this process: what it prints, and how it ends."""

from collections.abc import Callable

import pytest

from mooring_cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mooring(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mooring` with some words; returns exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mooring", *words])
        with pytest.raises(SystemExit) as end:
            main.run()
        printed = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, printed.out, printed.err

    return run
