"""A repository that is open: its store, its configuration and its keys."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mooring.backup import key_ring
from mooring.backup.format import (
    config,
    keys,
    layout,
    manifests,
    sealed,
    slot_records,
    slots,
)
from mooring.backup.format.slot_records import Purpose
from mooring.domain import backups, errors
from mooring.ports import blobstores, clock

_EVERYTHING = (layout.PACKS, layout.INDEX, layout.SESSIONS, layout.MANIFESTS)


@dataclass(frozen=True)
class Surroundings:
    """What the engine needs of the machine, so that tests can stand in for it.

    Attributes:
        clock: Wall-clock time.
        entropy: Returns so many unpredictable bytes.
    """

    clock: clock.Clock
    entropy: Callable[[int], bytes] = secrets.token_bytes


class Repository:
    """An open repository. Thread-safe.

    Attributes:
        store: Where the objects are.
        config: What `config` says.
        keys: All keys.
        surroundings: Clock and randomness.
    """

    def __init__(
        self,
        store: blobstores.BlobStore,
        repository_config: config.RepositoryConfig,
        repository_keys: keys.RepositoryKeys,
        surroundings: Surroundings,
    ) -> None:
        self.store = store
        self.config = repository_config
        self.keys = repository_keys
        self.surroundings = surroundings

    def put_sealed(self, key: str, content: bytes) -> int:
        """Encrypts and writes an object, create-only.

        Returns:
            Its size in bytes.

        Raises:
            AlreadyExists: The name is taken.
        """
        salt = self.surroundings.entropy(layout.SALT_BYTES)
        data = sealed.seal(self.keys, key, content, salt)
        self.store.put(key, data)
        return len(data)

    def get_sealed(self, key: str, limit_bytes: int) -> bytes:
        """Reads and decrypts an object.

        Raises:
            NotFound: There is none.
            DataCorrupt: It is damaged, or larger than it may be.
        """
        return sealed.unseal(self.keys, key, self.store.get(key, limit_bytes=limit_bytes))

    def manifest(self, backup_id: backups.BackupId) -> backups.BackupManifest:
        """Reads one backup's manifest.

        Raises:
            NotFound: There is no such backup.
            DataCorrupt: The manifest is damaged.
        """
        key = layout.manifest_key(backup_id)
        try:
            content = self.get_sealed(key, layout.MAXIMUM_MANIFEST_BYTES)
        except errors.NotFound as error:
            raise errors.NotFound(
                f"there is no backup {backup_id} in {self.store.location}"
            ) from error
        manifest = manifests.decode_manifest(content, key)
        if manifest.backup_id != backup_id:
            raise errors.DataCorrupt(f"object {key} is the manifest of {manifest.backup_id}")
        return manifest

    def backup_ids(self) -> list[backups.BackupId]:
        """Returns the ids of all backups, sorted."""
        found = []
        for info in self.store.list(layout.MANIFESTS):
            with contextlib.suppress(errors.InvalidInput):  # somebody else's file
                found.append(backups.parse_backup_id(info.key.removeprefix(layout.MANIFESTS)))
        return sorted(found)

    def catalogue(
        self,
    ) -> Iterator[tuple[backups.BackupId, backups.BackupManifest | errors.MooringError]]:
        """Yields every backup with its manifest, or with why that cannot be read, by id.

        One that is forgotten meanwhile is left out.
        """
        for backup_id in self.backup_ids():
            try:
                yield backup_id, self.manifest(backup_id)
            except errors.NotFound:
                continue
            except (errors.DataCorrupt, errors.Unsupported) as error:
                yield backup_id, error

    def forget(self, backup_id: backups.BackupId) -> None:
        """Removes a backup from the catalogue; an absent one is no error.

        No other backup needs it. Its chunks stay until garbage collection finds them unused. Its
        session is closed then: without a backup it would look like one that is under way.
        """
        session = None
        with contextlib.suppress(errors.NotFound, errors.DataCorrupt, errors.Unsupported):
            session = self.manifest(backup_id).session
        self.store.delete(layout.manifest_key(backup_id))
        self.store.delete(layout.damaged_key(backup_id))
        if session is not None:
            self.close_session(session)

    def damaged(self) -> set[backups.BackupId]:
        """Returns the backups of which a repair found something lost."""
        found = set()
        for info in self.store.list(layout.DAMAGED):
            with contextlib.suppress(errors.InvalidInput):
                found.add(backups.parse_backup_id(info.key.removeprefix(layout.DAMAGED)))
        return found

    def close_session(self, session: backups.SessionId) -> None:
        """Gives up on a session, so that its writer fails; closing it again is no error."""
        self.put_mark(layout.closed_key(session), "")

    def put_mark(self, key: str, why: str) -> None:
        """Writes an object whose being there says it all; one that is there is no error.

        Where a store is so full that the reason does not fit, it does without: a collection that
        has to make room can mark.

        Raises:
            SpaceExhausted: Not even an object without bytes fits.
        """
        with contextlib.suppress(errors.AlreadyExists):
            try:
                self.store.put(key, why.encode())
            except errors.SpaceExhausted:
                self.store.put(key, b"")


def initialise(
    store: blobstores.BlobStore,
    unlock_with: list[slots.Unlock],
    surroundings: Surroundings,
    chunk_size_bytes: int = backups.DEFAULT_CHUNK_SIZE_BYTES,
) -> Repository:
    """Makes a repository in an empty store.

    Args:
        store: Where.
        unlock_with: Keys and passphrases that shall open it, each by itself; at least one.
        surroundings: Clock and randomness.
        chunk_size_bytes: For volumes that have no backup yet.

    Raises:
        AlreadyExists: There is a repository; it is unharmed.
        DataCorrupt: There are objects of a repository whose `config` is missing.
    """
    backups.check_chunk_size(chunk_size_bytes)
    taken = f"there is a repository in {store.location} already"
    if store.head(layout.CONFIG) is not None:
        raise errors.AlreadyExists(taken)
    for prefix in _EVERYTHING:
        if next(iter(store.list(prefix)), None) is not None:
            raise errors.DataCorrupt(
                f"{store.location} holds a repository whose object `config` is missing: "
                "put it back from a copy; a new one could not read what is there"
            )
    repository = surroundings.entropy(16)
    repository_key = surroundings.entropy(layout.KEY_BYTES)
    context = config.slot_context(repository, chunk_size_bytes)
    now = surroundings.clock.now()

    def first_slot(one: slots.Unlock) -> dict[str, Any]:
        salt = surroundings.entropy(layout.SALT_BYTES)
        wrapped = slots.wrap(one, repository_key, context, salt)
        purpose = Purpose.CLUSTER if one.secret is not None else Purpose.RECOVERY
        values = slot_records.described(wrapped, purpose, "", now)
        return slot_records.sealed(values, repository_key, repository)

    made = config.RepositoryConfig(
        repository=repository,
        chunk_size_bytes=chunk_size_bytes,
        created_at=now,
        slots=tuple(first_slot(one) for one in unlock_with),
    )
    try:
        store.put(layout.CONFIG, config.encode(made))
    except errors.AlreadyExists as error:
        raise errors.AlreadyExists(taken) from error
    return Repository(store, made, keys.RepositoryKeys(repository_key, repository), surroundings)


def open_repository(
    store: blobstores.BlobStore, unlock_with: slots.Unlock, surroundings: Surroundings
) -> Repository:
    """Opens a repository.

    Raises:
        NotFound: There is none.
        PermissionDenied: The key or passphrase is for something else.
        Unsupported: A newer Mooring made it.
        DataCorrupt: `config` is damaged.
    """
    found = read_config(store)
    opened = key_ring.open_keys(store, found, unlock_with)
    repository_keys = keys.RepositoryKeys(opened.repository_key, found.repository)
    return Repository(store, found, repository_keys, surroundings)


def open_key_ring(
    store: blobstores.BlobStore, unlock_with: slots.Unlock, surroundings: Surroundings
) -> key_ring.KeyRing:
    """Opens a repository to manage its key slots; errors as for `open_repository`."""
    found = read_config(store)
    opened = key_ring.open_keys(store, found, unlock_with)
    return key_ring.KeyRing(store, found, opened, surroundings.clock, surroundings.entropy)


def read_config(store: blobstores.BlobStore) -> config.RepositoryConfig:
    """Reads what a repository is, without its key; errors as for `open_repository`."""
    try:
        data = store.get(layout.CONFIG, limit_bytes=layout.MAXIMUM_CONFIG_BYTES)
    except errors.NotFound as error:
        raise errors.NotFound(
            f"there is no repository in {store.location}: make one with `mooring repo init`"
        ) from error
    return config.decode(data)
