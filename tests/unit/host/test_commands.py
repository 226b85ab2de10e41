"""Programs are started without a shell, within a bound of time, and their failure is told."""

import pytest

from mooring.adapters.host import commands
from mooring.domain import errors


def test_arguments_reach_the_program_as_they_are() -> None:
    assert commands.run(["printf", "%s|", "a b", "$HOME;`id`", "-n", "ü"]) == "a b|$HOME;`id`|-n|ü|"


def test_a_failure_names_the_program_its_code_and_the_end_of_what_it_said() -> None:
    script = "seq 1000 >&2; echo the reason >&2; exit 3"
    with pytest.raises(errors.HostFailure) as caught:
        commands.run(["sh", "-c", script])
    message = str(caught.value)
    assert message.startswith("sh failed with exit code 3")
    assert message.endswith("the reason")
    assert len(message) < 1000
    assert commands.attempt(["sh", "-c", script]).exit_code == 3


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(errors.HostFailure, match="did not end within"):
        commands.run(["sleep", "30"], timeout_seconds=0.2)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(errors.HostFailure, match=r"mkfs\.absent is not installed"):
        commands.run(["mkfs.absent"])


def test_nothing_of_the_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary")
    assert "canary" not in commands.run(["env"])
