"""Key slots: what opens a repository, and how that is added, proven, shown and removed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.adapters.blobstores.memory import MemoryBlobStore
from mooring.backup import key_ring, repository
from mooring.backup.format import config, layout, recovery_keys, slot_records, slots
from mooring.backup.format.slot_records import Purpose
from mooring.domain import errors
from mooring.ports import blobstores
from support.backup_engine import KEY, OTHER_KEY, Engine
from support.set_clock import SetClock

WORDS = slots.Unlock(passphrase="correct horse")
IDENTITY = slots.Unlock(identity=b"\7" * 32)
PUBLIC = recovery_keys.public_of(b"\7" * 32)
BYTES_32 = st.binary(min_size=32, max_size=32)


class Store:
    """A repository in memory, opened again and again."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobStore()
        self.surroundings = repository.Surroundings(SetClock())
        repository.initialise(self.blobs, [KEY], self.surroundings)

    def open(self, key: slots.Unlock = KEY) -> repository.Repository:
        return repository.open_repository(self.blobs, key, self.surroundings)

    def ring(self, key: slots.Unlock = KEY) -> key_ring.KeyRing:
        return repository.open_key_ring(self.blobs, key, self.surroundings)

    def objects(self) -> dict[str, bytes]:
        return {
            info.key: self.blobs.get(info.key, limit_bytes=1 << 20) for info in self.blobs.list("")
        }

    def change(self, key: str, how: Callable[[bytes], bytes]) -> None:
        self.put(key, how(self.blobs.get(key, limit_bytes=1 << 20)))

    def put(self, key: str, data: bytes) -> None:
        """Puts an object in the place of one that may be there, as only an attacker would."""
        self.blobs.delete(key)
        self.blobs.put(key, data)


@pytest.fixture
def store() -> Store:
    return Store()


def same_repository(one: repository.Repository, other: repository.Repository) -> bool:
    """Whether both hold the same keys: each reads what the other seals."""
    one.put_sealed("sessions/x", b"content")
    try:
        return other.get_sealed("sessions/x", 1000) == b"content"
    finally:
        one.store.delete("sessions/x")


@settings(deadline=None)
@given(secret=BYTES_32, key=BYTES_32, context=st.binary(max_size=100), salt=BYTES_32)
def test_a_secret_slot_opens_for_its_secret_alone(
    secret: bytes, key: bytes, context: bytes, salt: bytes
) -> None:
    slot = slots.wrap(slots.Unlock(secret=secret), key, context, salt)
    assert slots.unwrap(slots.Unlock(secret=secret), slot, context) == key
    other = bytes(byte ^ 1 for byte in secret)
    assert slots.unwrap(slots.Unlock(secret=other), slot, context) is None
    with pytest.raises(errors.DataCorrupt):
        slots.unwrap(slots.Unlock(secret=secret), slot, context + b"x")


@settings(deadline=None)
@given(secret=BYTES_32, key=BYTES_32, context=st.binary(max_size=100), flip=st.integers(0, 79))
def test_a_recovery_slot_opens_for_its_secret_half_alone(
    secret: bytes, key: bytes, context: bytes, flip: int
) -> None:
    public = recovery_keys.public_of(secret)
    sealed = recovery_keys.seal(public, key, context)
    slot = slots.recipient_slot(public, sealed)
    assert slots.unwrap(slots.Unlock(identity=secret), slot, context) == key
    other = slots.Unlock(identity=bytes(byte ^ 255 for byte in secret))
    assert slots.unwrap(other, slot, context) is None
    broken = bytearray(sealed)
    broken[flip] ^= 1
    for values, where in (
        (slots.recipient_slot(public, bytes(broken)), context),
        (slot, b"y" * 101),
    ):
        with pytest.raises(errors.DataCorrupt):
            slots.unwrap(slots.Unlock(identity=secret), values, where)


@settings(max_examples=5, deadline=None)  # scrypt takes its time, on purpose
@given(words=st.text(min_size=1), key=BYTES_32, salt=BYTES_32)
def test_a_passphrase_slot_opens_for_its_passphrase_alone(
    words: str, key: bytes, salt: bytes
) -> None:
    try:
        words.encode()
    except UnicodeEncodeError:
        return
    slot = slots.wrap(slots.Unlock(passphrase=words), key, b"", salt)
    assert slots.unwrap(slots.Unlock(passphrase=words), slot, b"") == key
    assert slots.unwrap(slots.Unlock(passphrase=words + "x"), slot, b"") is None


@settings(deadline=None)
@given(BYTES_32)
def test_recovery_keys_are_read_as_they_are_written(secret: bytes) -> None:
    public = recovery_keys.public_of(secret)
    assert recovery_keys.parse_public(recovery_keys.format_public(public)) == public
    content = recovery_keys.identity_file(secret, "today")
    assert recovery_keys.parse_secret(content.encode()) == secret
    assert slots.parse_unlock(content.encode()) == slots.Unlock(identity=secret)


@settings(deadline=None)
@given(BYTES_32, st.data())
def test_a_typing_error_in_a_public_key_is_noticed(secret: bytes, data: st.DataObject) -> None:
    text = recovery_keys.format_public(recovery_keys.public_of(secret))
    position = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567-"))
    wrong = text[:position] + letter + text[position + 1 :]
    if wrong == text:
        return
    with pytest.raises(errors.InvalidInput, match="typing error"):
        recovery_keys.parse_public(wrong)


@pytest.mark.parametrize(
    "text",
    ["", "mooring-recovery-", "mooring-recovery-ä", "age1xyz", "mooring-recovery-" + "a" * 58],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        recovery_keys.parse_public(text)


def test_a_damaged_identity_file_is_told_from_a_key_file() -> None:
    content = recovery_keys.identity_file(b"s" * 32, "today").encode()
    with pytest.raises(errors.InvalidInput, match="damaged"):
        slots.parse_unlock(content[:-8] + b"AAAAAAA\n")
    with pytest.raises(errors.InvalidInput, match="damaged"):
        slots.parse_unlock(content + content)


@pytest.mark.parametrize(
    ("unlock", "purpose"),
    [(OTHER_KEY, Purpose.CLUSTER), (WORDS, Purpose.RECOVERY)],
)
def test_an_added_slot_opens_the_same_repository(
    store: Store, unlock: slots.Unlock, purpose: Purpose
) -> None:
    before = store.objects()
    slot = store.ring().add(unlock, purpose, "office")
    assert same_repository(store.open(), store.open(unlock))
    assert {key: data for key, data in store.objects().items() if key != slot.key} == before
    found = store.ring(unlock).find(slot.slot_id)
    assert (found.purpose, found.label, found.created_at) == (
        purpose,
        "office",
        store.surroundings.clock.now().isoformat(),
    )
    assert store.ring().is_proven(found)


def test_a_recovery_slot_is_added_without_its_secret(store: Store) -> None:
    slot = store.ring().add_recovery_key(PUBLIC)
    assert same_repository(store.open(), store.open(IDENTITY))
    assert store.ring().recovery_slots() == [slot]
    assert store.ring().add_recovery_key(PUBLIC).slot_id == slot.slot_id
    assert [key for key in store.objects() if key.startswith(layout.KEYS)] == [slot.key]


def test_nothing_in_the_store_holds_a_secret_in_plain(store: Store) -> None:
    ring = store.ring()
    ring.add_recovery_key(PUBLIC)
    ring.add(WORDS, Purpose.RECOVERY)
    assert KEY.secret is not None
    for data in store.objects().values():
        for secret in (KEY.secret, b"\7" * 32):
            assert secret not in data
            assert secret.hex().encode() not in data
        assert b"correct horse" not in data


@pytest.mark.parametrize(
    "key", [OTHER_KEY, WORDS, IDENTITY], ids=["secret", "passphrase", "recovery key"]
)
def test_a_wrong_key_is_told_plainly(store: Store, key: slots.Unlock) -> None:
    with pytest.raises(errors.WrongKey, match=f"this {key.noun} does not open repository"):
        store.open(key)


def test_a_rotated_key_opens_nothing_any_more(store: Store) -> None:
    config_before = store.objects()[layout.CONFIG]
    old = store.ring().opened_by
    store.ring().add(OTHER_KEY, Purpose.CLUSTER)
    store.ring(OTHER_KEY).remove(old)
    with pytest.raises(errors.WrongKey, match="was removed"):
        store.open(KEY)
    assert store.open(OTHER_KEY).backup_ids() == []
    assert [slot.purpose for slot in store.ring(OTHER_KEY).active()] == [Purpose.CLUSTER]
    assert store.objects()[layout.CONFIG] == config_before


def test_a_removed_slot_of_keys_is_deleted_too(store: Store) -> None:
    slot = store.ring().add(OTHER_KEY, Purpose.CLUSTER)
    data = store.objects()[str(slot.key)]
    store.ring().remove(slot)
    assert slot.key not in store.objects()
    store.blobs.put(str(slot.key), data)  # a store that kept it, or a copy of it
    with pytest.raises(errors.WrongKey, match="was removed"):
        store.open(OTHER_KEY)


def test_a_slot_is_removed_where_nothing_may_be_deleted(store: Store) -> None:
    """A store with object lock, or a writer without that right."""
    slot = store.ring().add(OTHER_KEY, Purpose.CLUSTER)

    class Locked(MemoryBlobStore):
        def delete(self, key: str) -> None:
            raise errors.PermissionDenied(f"{key} may not be deleted")

    locked = Locked()
    for key, data in store.objects().items():
        locked.put(key, data)
    ring = repository.open_key_ring(locked, KEY, store.surroundings)
    ring.remove(ring.find(slot.slot_id))
    with pytest.raises(errors.WrongKey, match="was removed"):
        repository.open_repository(locked, OTHER_KEY, store.surroundings)


def test_an_invented_revocation_does_not_stop_a_removal(store: Store) -> None:
    slot = store.ring().add(OTHER_KEY, Purpose.CLUSTER)
    forged = slot_records.revocation(slot, "now")
    store.put(slot_records.revocation_key(slot.slot_id), slot_records.encode(forged))
    store.ring().remove(slot)
    with pytest.raises(errors.WrongKey):
        store.open(OTHER_KEY)


def test_an_invented_revocation_locks_nobody_out(store: Store) -> None:
    values = slot_records.revocation(store.ring().opened_by, "now")
    key = slot_records.revocation_key(store.ring().opened_by.slot_id)
    for forged in (values, {**values, "seal": "0" * 64}, {**values, "seal": 5}):
        store.put(key, slot_records.encode(forged))
        assert store.open().backup_ids() == []


def test_what_would_lock_people_out_is_refused(store: Store) -> None:
    before = store.objects()
    with pytest.raises(errors.PreconditionFailed, match="opened the repository now"):
        store.ring().remove(store.ring().opened_by)
    assert store.objects() == before
    slot = store.ring().add_recovery_key(PUBLIC)
    with pytest.raises(errors.PreconditionFailed, match="last one for recovery"):
        store.ring().remove(slot)
    words = store.ring().add(WORDS, Purpose.RECOVERY)
    store.ring().remove(slot)
    assert store.ring().recovery_slots() == [words]
    store.ring().remove(words, last_recovery=True)
    assert store.ring().recovery_slots() == []


def test_a_slot_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    slot = store.ring().add_recovery_key(PUBLIC)
    assert store.ring().find(slot.slot_id[:8]).slot_id == slot.slot_id
    for text in ("", "zz"):
        with pytest.raises(errors.NotFound, match="keys list"):
            store.ring().find(text)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: b"[1]", lambda data: data[:-20], lambda data: b"\xff" + data],
)
def test_a_damaged_object_of_keys_is_skipped_with_a_note(
    store: Store, damage: Callable[[bytes], bytes]
) -> None:
    slot = store.ring().add_recovery_key(PUBLIC)
    store.change(str(slot.key), damage)
    ring = store.ring()
    assert ring.notes == (f"object {slot.key} is damaged and was skipped",)
    assert ring.recovery_slots() == []
    with pytest.raises(errors.WrongKey):
        store.open(IDENTITY)


def test_a_recovery_slot_that_was_changed_is_not_counted(store: Store) -> None:
    """Nobody in the cluster can open it, and still its damage is seen."""
    slot = store.ring().add_recovery_key(PUBLIC)
    values = json.loads(store.objects()[str(slot.key)])
    for name in ("wrapped", "recipient", "fingerprint", "purpose", "seal"):
        broken = {**values, name: values[name][::-1]}
        store.put(str(slot.key), slot_records.encode(broken))
        assert store.ring().recovery_slots() == [], name
    store.put(str(slot.key), slot_records.encode(values))
    assert len(store.ring().recovery_slots()) == 1


def test_damage_to_one_slot_leaves_the_others_in_use(store: Store) -> None:
    first = store.ring().add(OTHER_KEY, Purpose.CLUSTER)
    values = json.loads(store.objects()[str(first.key)])
    values["wrapped"] = values["wrapped"][::-1]
    store.put(str(first.key), slot_records.encode(values))
    with pytest.raises(errors.DataCorrupt, match="key slot"):
        store.open(OTHER_KEY)
    second = store.ring().add(OTHER_KEY, Purpose.CLUSTER)
    ring = store.ring(OTHER_KEY)
    assert ring.opened_by.slot_id == second.slot_id


def test_slots_of_a_newer_mooring_are_left_alone(store: Store) -> None:
    store.blobs.put(f"{layout.KEYS}new", slot_records.encode({"type": "kms", "x": [1]}))
    ring = store.ring()
    assert [slot.type for slot in ring.active()] == ["secret", "kms"]
    assert ring.recovery_slots() == []  # it was not made by anybody with the repository key


def test_repositories_from_before_slots_had_seals_are_opened(store: Store) -> None:
    found = repository.read_config(store.blobs)
    old = {
        name: value
        for name, value in found.slots[0].items()
        if name not in ("purpose", "label", "createdAt", "seal")
    }
    made = config.RepositoryConfig(found.repository, 65536, found.created_at, (old,))
    store.put(layout.CONFIG, config.encode(made))
    ring = store.ring()
    assert (ring.opened_by.purpose, ring.opened_by.created_at) == (Purpose.CLUSTER, None)
    ring.add(OTHER_KEY, Purpose.CLUSTER)
    store.ring(OTHER_KEY).remove(ring.opened_by)
    with pytest.raises(errors.WrongKey, match="was removed"):
        store.open(KEY)


def test_a_store_that_returns_other_bytes_gets_no_slot(store: Store) -> None:
    class Careless(MemoryBlobStore):
        def put(self, key: str, data: blobstores.Buffer) -> None:
            broken = bytes(data).replace(b'"wrapped": "', b'"wrapped": "00')
            given = broken if key.startswith(layout.KEYS) else data
            super().put(key, given)

    blobs = Careless()
    repository.initialise(blobs, [KEY], store.surroundings)
    ring = repository.open_key_ring(blobs, KEY, store.surroundings)
    for add in (
        lambda: ring.add(OTHER_KEY, Purpose.CLUSTER),
        lambda: ring.add_recovery_key(PUBLIC),
    ):
        with pytest.raises(errors.DataCorrupt, match="as it was written"):
            add()
    assert [slot.type for slot in ring.active()] == ["secret"]
    assert list(blobs.list(layout.KEYS)) == []


def test_a_recovery_key_makes_no_repository(store: Store) -> None:
    blobs = MemoryBlobStore()
    with pytest.raises(errors.InvalidInput, match="recovery key"):
        repository.initialise(blobs, [IDENTITY], store.surroundings)
    assert list(blobs.list("")) == []


def test_two_repositories_in_one_store_share_nothing(tmp_path: Path) -> None:
    """Each tenant's repository is a dedup domain of its own, also with the same Secret."""
    one, other = Engine(tmp_path / "one"), Engine(tmp_path / "other")
    for engine in (one, other):
        engine.folder.mkdir()
        engine.back_up(b"same content" * 1000, "bk")
    names = [set(engine.object_names()) for engine in (one, other)]
    assert names[0] & names[1] == {layout.CONFIG, f"{layout.MANIFESTS}bk"}
    manifests = [engine.open().manifest(engine.open().backup_ids()[0]) for engine in (one, other)]
    assert manifests[0].root != manifests[1].root
    packs = [name for name in names[0] if name.startswith(layout.PACKS)]
    moved = one.store.get(packs[0], limit_bytes=1 << 20)
    other.store.put(packs[0], moved)
    stolen = one.store.get(f"{layout.MANIFESTS}bk", limit_bytes=1 << 20)
    other.store.delete(f"{layout.MANIFESTS}bk")
    other.store.put(f"{layout.MANIFESTS}bk", stolen)
    with pytest.raises(errors.DataCorrupt):
        other.restore("bk")
