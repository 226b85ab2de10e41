"""Whether a repository outlives its cluster: it has a key slot for recovery, or that is waived.

Pure. A repository that never was Ready takes no backups before that. One that was Ready goes on
taking them: refusing them would lose more than the missing slot does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mooring.planning import verdicts

NO_RECOVERY_SLOT = "NoRecoverySlot"
SLOTS = "recoverySlots"


@dataclass(frozen=True)
class Wish:
    """What a BackupRepository says of recovery.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        waived: Whether it wants to do without.
        was_ready: Whether it has been Ready before.
    """

    namespace: str
    name: str
    waived: bool = False
    was_ready: bool = False


def is_told(result: Mapping[str, Any]) -> bool:
    """Whether a probe's answer says anything of key slots; one of an older mover does not."""
    return isinstance(result.get(SLOTS), list)


def slots_in(result: Mapping[str, Any]) -> list[str]:
    """Returns the recovery slots that a probe found, as `type:fingerprint`."""
    return [str(entry)[:80] for entry in result.get(SLOTS, [])]


def verdict(result: Mapping[str, Any], wish: Wish) -> verdicts.Verdict:
    """Says how a repository stands that was opened, read and written."""
    slots = slots_in(result)
    if not slots and not wish.waived:
        return verdicts.stuck(NO_RECOVERY_SLOT, _advice(wish))
    text = f"repository {result.get('repositoryId', '')} was opened with its key"
    if result.get("openedWith") == "recovery":
        text = (
            f"repository {result.get('repositoryId', '')} was opened with a recovery key, which "
            "does not belong into a cluster. Add a key of its own, `mooring repo keys add "
            "--new-key-file FILE`, and put that into the Secret"
        )
    if not slots:
        text += "; without a recovery slot, as spec.encryption.recovery: None says"
    damaged = result.get("notes")
    if damaged:
        text += f"; {'; '.join(str(note) for note in damaged)}"
    return verdicts.done("Available", text)


def takes_backups(reason: str, *, was_ready: bool) -> bool:
    """Whether a repository that is not Ready for that reason is backed up to all the same."""
    return reason == NO_RECOVERY_SLOT and was_ready


def may_be_read(reason: str) -> bool:
    """Whether a repository that is not Ready for that reason can be restored from."""
    return reason == NO_RECOVERY_SLOT


def _advice(wish: Wish) -> str:
    patch = f"kubectl -n {wish.namespace} patch backuprepository {wish.name} --type=merge -p"
    goes_on = "" if not wish.was_ready else " Backups go on, since it was Ready before."
    return (
        "nothing outside the cluster opens it: if the cluster is lost, every backup is."
        f"{goes_on} Run `kubectl mooring keygen recovery.key` elsewhere, keep the file there, and "
        f"name the public key that it prints: {patch} "
        '\'{"spec":{"encryption":{"recoveryKeys":["PUBLIC-KEY"]}}}\'. '
        f'To do without: {patch} \'{{"spec":{{"encryption":{{"recovery":"None"}}}}}}\''
    )
