"""The key slots of one repository: found, opened, proven, added and removed.

`config` is never rewritten. Slots that are added are objects beside it; one that is removed is
revoked by an object first, and then deleted where that is possible. Data is never touched.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mooring.backup.format import config, layout, recovery_keys, slot_records, slots
from mooring.backup.format.slot_records import KeySlot, Purpose
from mooring.domain import errors
from mooring.ports import blobstores, clock

MAXIMUM_SLOTS = 256


@dataclass
class SlotTable:
    """What lies in `config` and in `keys/`.

    Attributes:
        slots: Every slot that can be read as one.
        revocations: By the id of the slot; nobody has looked at their seals yet.
        notes: What was skipped, for people.
    """

    slots: list[KeySlot] = field(default_factory=list)
    revocations: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OpenedKeys:
    """The repository key, and how it was come by.

    Attributes:
        repository_key: 32 bytes.
        slot: What opened.
        table: All slots.
    """

    repository_key: bytes
    slot: KeySlot
    table: SlotTable

    def __repr__(self) -> str:
        return f"OpenedKeys({self.slot.slot_id})"


def read_slots(store: blobstores.BlobStore, found: config.RepositoryConfig) -> SlotTable:
    """Reads all slots; what is damaged or unknown is skipped with a note."""
    table = SlotTable()
    for values in found.slots:
        table.slots.append(KeySlot(slot_records.slot_id(values), values, None))
    added = sorted(info.key for info in store.list(layout.KEYS))
    for key in added[:MAXIMUM_SLOTS]:
        _read_object(store, key, table)
    if len(added) > MAXIMUM_SLOTS:
        table.notes.append(f"{len(added) - MAXIMUM_SLOTS} objects of keys/ were not looked at")
    return table


def _read_object(store: blobstores.BlobStore, key: str, table: SlotTable) -> None:
    try:
        values = json.loads(store.get(key, limit_bytes=layout.MAXIMUM_CONFIG_BYTES))
        if not isinstance(values, dict):
            raise ValueError("no object")
    except errors.NotFound:
        return  # removed meanwhile
    except (errors.DataCorrupt, ValueError, RecursionError):
        table.notes.append(f"object {key} is damaged and was skipped")
        return
    if values.get("type") == slot_records.REVOKED:
        table.revocations[str(values.get("slot"))] = values
    else:
        table.slots.append(KeySlot(slot_records.slot_id(values), values, key))


def open_keys(
    store: blobstores.BlobStore, found: config.RepositoryConfig, unlock: slots.Unlock
) -> OpenedKeys:
    """Opens a repository with a key, a passphrase or a recovery key.

    Raises:
        WrongKey: No slot is for it, or the one that is was removed.
        DataCorrupt: The only slots for it are damaged.
    """
    table = read_slots(store, found)
    context = config.slot_context(found.repository, found.chunk_size_bytes)
    damage: errors.DataCorrupt | None = None
    revoked = False
    for slot in table.slots:
        try:
            key = slots.unwrap(unlock, slot.values, context)
        except errors.DataCorrupt as error:
            damage = error
            table.notes.append(f"key slot {slot.slot_id} is damaged and was skipped")
            continue
        if key is None:
            continue
        if _is_revoked(table, slot, key, found.repository):
            revoked = True
            continue
        return OpenedKeys(key, slot, table)
    if damage is not None and not revoked:
        raise damage
    raise errors.WrongKey(_refusal(found, unlock, revoked=revoked))


def _refusal(found: config.RepositoryConfig, unlock: slots.Unlock, *, revoked: bool) -> str:
    if revoked:
        return (
            f"this {unlock.noun} was removed from repository {found.repository_id}: use the one "
            "that took its place"
        )
    return (
        f"this {unlock.noun} does not open repository {found.repository_id}: "
        f"give one that it was made with, or that was added to it"
    )


def _is_revoked(table: SlotTable, slot: KeySlot, key: bytes, repository: bytes) -> bool:
    values = table.revocations.get(slot.slot_id)
    return values is not None and slot_records.is_sealed(values, key, repository)


class KeyRing:
    """The slots of an open repository, for whoever manages them.

    Attributes:
        opened_by: The slot that opened it.
        notes: What was skipped.
    """

    def __init__(
        self,
        store: blobstores.BlobStore,
        found: config.RepositoryConfig,
        opened: OpenedKeys,
        time: clock.Clock,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._config = found
        self._key = opened.repository_key
        self._context = config.slot_context(found.repository, found.chunk_size_bytes)
        self._time = time
        self._entropy = entropy
        self.opened_by = opened.slot
        self._table = opened.table

    def __repr__(self) -> str:
        return f"KeyRing({self._config.repository_id})"

    @property
    def notes(self) -> Sequence[str]:
        """What was skipped, for people."""
        return tuple(self._table.notes)

    def active(self) -> list[KeySlot]:
        """Returns the slots that were not removed."""
        repository = self._config.repository
        return [
            slot
            for slot in self._table.slots
            if not _is_revoked(self._table, slot, self._key, repository)
        ]

    def is_proven(self, slot: KeySlot) -> bool:
        """Whether somebody who had the repository key made this slot, and it is whole."""
        return slot_records.is_sealed(slot.values, self._key, self._config.repository)

    def recovery_slots(self) -> list[KeySlot]:
        """Returns the proven slots for recovery, one for each fingerprint."""
        found = [
            slot
            for slot in self.active()
            if slot.purpose == Purpose.RECOVERY and self.is_proven(slot)
        ]
        return list({slot.fingerprint: slot for slot in found}.values())

    def add(self, unlock: slots.Unlock, purpose: Purpose, label: str = "") -> KeySlot:
        """Adds a slot for a key or passphrase, and proves from the store that it opens.

        Raises:
            DataCorrupt: The store gives back something else; the slot was taken away again.
        """
        salt = self._entropy(layout.SALT_BYTES)
        slot = self._write(slots.wrap(unlock, self._key, self._context, salt), purpose, label)
        self._prove(slot, unlock)
        return slot

    def add_recovery_key(self, public: bytes, label: str = "") -> KeySlot:
        """Adds a slot for a recovery key of which only the public half is here.

        One that is there already stays as it is.

        Raises:
            DataCorrupt: The store gives back something else; the slot was taken away again.
        """
        wanted = recovery_keys.fingerprint(public)
        for slot in self.recovery_slots():
            if slot.type == slots.RECIPIENT and slot.fingerprint == wanted:
                return slot
        wrapped = recovery_keys.seal(public, self._key, self._context)
        slot = self._write(slots.recipient_slot(public, wrapped), Purpose.RECOVERY, label)
        self._prove(slot, None)
        return slot

    def _prove(self, slot: KeySlot, unlock: slots.Unlock | None) -> None:
        """Reads a slot back, compares, and opens it where what opens it is here."""
        try:
            data = self._store.get(str(slot.key), limit_bytes=layout.MAXIMUM_CONFIG_BYTES)
            whole = data == slot_records.encode(slot.values)
            if unlock is not None:
                values = json.loads(data)
                whole = whole and slots.unwrap(unlock, values, self._context) == self._key
        except (errors.NotFound, errors.DataCorrupt, ValueError):
            whole = False
        if not whole:
            self._store.delete(str(slot.key))
            self._table.slots.remove(slot)
            raise errors.DataCorrupt(
                f"{self._store.location} does not give the new key slot back as it was written; it "
                "was taken away again, and nothing else was changed"
            )

    def remove(self, slot: KeySlot, *, last_recovery: bool = False) -> None:
        """Removes a slot; the revocation comes first, so a kill leaves it removed or whole.

        Args:
            slot: One of `active`.
            last_recovery: Whether it may be the last one for recovery.

        Raises:
            PreconditionFailed: It is the one that opened the repository, the last, or the last for
                recovery.
        """
        self._check_removal(slot, last_recovery=last_recovery)
        values = slot_records.revocation(slot, self._time.now().isoformat())
        values = slot_records.sealed(values, self._key, self._config.repository)
        self._put_revocation(slot_records.revocation_key(slot.slot_id), values)
        self._table.revocations[slot.slot_id] = values
        if slot.key is not None:
            with contextlib.suppress(errors.PermissionDenied):  # revoked is enough
                self._store.delete(slot.key)

    def _put_revocation(self, key: str, values: Mapping[str, Any]) -> None:
        data = slot_records.encode(values)
        try:
            self._store.put(key, data)
        except errors.AlreadyExists:
            # Invented or damaged, or the slot would not be there to remove; it is worth nothing.
            self._store.delete(key)
            self._store.put(key, data)

    def find(self, identity: str) -> KeySlot:
        """Returns a slot by its id, or by a beginning of it that names only one.

        Raises:
            NotFound: There is none.
            InvalidInput: There are several.
        """
        found = [slot for slot in self.active() if identity and slot.slot_id.startswith(identity)]
        if not found:
            raise errors.NotFound(
                f"there is no key slot {identity[:40]!r}: `mooring repo keys list` shows all"
            )
        if len(found) > 1:
            raise errors.InvalidInput(f"{identity!r} begins the ids of {len(found)} key slots")
        return found[0]

    def _check_removal(self, slot: KeySlot, *, last_recovery: bool) -> None:
        if slot.slot_id == self.opened_by.slot_id:
            raise errors.PreconditionFailed(
                f"slot {slot.slot_id} is the one that opened the repository now: open it with the "
                "key that shall stay, which proves that one does"
            )
        recovery = [one.slot_id for one in self.recovery_slots()]
        if slot.purpose == Purpose.RECOVERY and recovery == [slot.slot_id] and not last_recovery:
            raise errors.PreconditionFailed(
                f"slot {slot.slot_id} is the last one for recovery: add another first, or say "
                "--last-recovery; without one a lost cluster loses its backups"
            )

    def _write(self, wrapped: Mapping[str, Any], purpose: Purpose, label: str) -> KeySlot:
        described = slot_records.described(wrapped, purpose, label, self._time.now())
        values = slot_records.sealed(described, self._key, self._config.repository)
        identity = slot_records.slot_id(values)
        slot = KeySlot(identity, values, slot_records.slot_key(identity))
        self._store.put(str(slot.key), slot_records.encode(values))
        self._table.slots.append(slot)
        return slot
