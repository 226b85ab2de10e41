"""When a repository counts as one that outlives its cluster."""

from typing import Any

import pytest

from mooring.planning import recovery_slots, verdicts

WISH = recovery_slots.Wish("shop", "main")
FOUND = {"repositoryId": "r1", "recoverySlots": ["x25519:ab"]}
NONE: dict[str, Any] = {"repositoryId": "r1", "recoverySlots": []}


def test_a_recovery_slot_makes_it_ready() -> None:
    said = recovery_slots.verdict(FOUND, WISH)
    assert (said.outcome, said.reason) == (verdicts.Outcome.DONE, "Available")
    assert "r1" in said.message


def test_without_one_it_says_the_commands() -> None:
    said = recovery_slots.verdict(NONE, WISH)
    assert (said.outcome, said.reason) == (verdicts.Outcome.STUCK, "NoRecoverySlot")
    assert "kubectl mooring keygen" in said.message
    assert "kubectl -n shop patch backuprepository main" in said.message
    assert '{"spec":{"encryption":{"recovery":"None"}}}' in said.message
    assert "go on" not in said.message
    assert (
        "go on"
        in recovery_slots.verdict(NONE, recovery_slots.Wish("s", "m", was_ready=True)).message
    )


def test_a_waiver_is_said_aloud() -> None:
    said = recovery_slots.verdict(NONE, recovery_slots.Wish("shop", "main", waived=True))
    assert said.outcome is verdicts.Outcome.DONE
    assert "recovery: None" in said.message
    both = recovery_slots.verdict(FOUND, recovery_slots.Wish("shop", "main", waived=True))
    assert "None" not in both.message


def test_a_recovery_key_in_the_cluster_and_damage_are_named() -> None:
    said = recovery_slots.verdict(
        {**FOUND, "openedWith": "recovery", "notes": ["object keys/x is damaged"]}, WISH
    )
    assert "keys add --new-key-file" in said.message
    assert "keys/x" in said.message


@pytest.mark.parametrize(
    ("reason", "was_ready", "written", "read"),
    [
        ("NoRecoverySlot", True, True, True),
        ("NoRecoverySlot", False, False, True),
        ("WrongKey", True, False, False),
    ],
)
def test_what_goes_on_without_a_slot(
    reason: str, was_ready: bool, written: bool, read: bool
) -> None:
    assert recovery_slots.takes_backups(reason, was_ready=was_ready) is written
    assert recovery_slots.may_be_read(reason) is read


def test_an_older_movers_answer_says_nothing() -> None:
    assert not recovery_slots.is_told({"repositoryId": "r1"})
    assert recovery_slots.is_told(NONE)
