"""Is `config` that of the repository around it? The same key may open that of another one.

What was written under another's keys could not be read with the right `config`, and what is there
would look damaged, to be given up.
"""

from collections.abc import Iterator
from itertools import islice

from mooring.backup import pack_footers
from mooring.backup import repository as repositories
from mooring.backup.format import layout
from mooring.domain import backups, errors

_TRIED = 16
"""Objects of each kind: one that opens is enough, and so many are not damaged all by chance."""
_FEWEST = 2
"""One alone that does not open may as well be damaged."""


def refuse_foreign(repository: repositories.Repository) -> None:
    """Looks whether anything that is there opens; with an empty repository all is well.

    Raises:
        AnotherRepository: Nothing does, and there is more than one object.
    """
    tried = []
    for key, limit_bytes in _sealed_objects(repository):
        try:
            _open(repository, key, limit_bytes)
        except errors.DataCorrupt:
            tried.append(key)
        except (errors.NotFound, errors.Unsupported):
            continue
        else:
            return
    if len(tried) >= _FEWEST:
        raise errors.AnotherRepository(
            f"nothing that is in {repository.store.location} opens with what its object `config` "
            f"says, which is of repository {repository.config.repository_id}: put back the right "
            f"one from a copy. Or, if it is the right one, put back what is damaged then: "
            f"{', '.join(tried[:5])}. Nothing was changed"
        )


def refuse_other(repository: repositories.Repository, wanted: backups.RepositoryId | None) -> None:
    """Looks whether a repository is the one that is wanted; None wants any.

    Raises:
        AnotherRepository: It is not.
    """
    found = repository.config.repository_id
    if wanted is not None and found != wanted:
        raise errors.AnotherRepository(
            f"{repository.store.location} holds repository {found}, and {wanted} was there before: "
            "put back that one, or its object `config` from a copy. Nothing was changed"
        )


def _sealed_objects(repository: repositories.Repository) -> Iterator[tuple[str, int]]:
    """Yields names with limits, small objects first; lists only what is asked for.

    Of a pack only its end is read.
    """
    store = repository.store
    sessions = (info.key for info in store.list(layout.SESSIONS) if _is_session(info.key))
    yield from ((key, layout.MAXIMUM_SESSION_BYTES) for key in islice(sessions, _TRIED))
    for backup_id in repository.backup_ids()[:_TRIED]:
        yield layout.manifest_key(backup_id), layout.MAXIMUM_MANIFEST_BYTES
    index = (info.key for info in store.list(layout.INDEX) if layout.segment_parts(info.key))
    yield from ((key, layout.MAXIMUM_SEGMENT_BYTES) for key in islice(index, _TRIED))
    packs = ((info.key, info.size_bytes) for info in store.list(layout.PACKS))
    yield from islice(packs, _TRIED)


def _open(repository: repositories.Repository, key: str, limit_bytes: int) -> None:
    pack = layout.pack_name(key)
    if pack is None:
        repository.get_sealed(key, limit_bytes)
    else:
        pack_footers.read_entries(repository, pack, limit_bytes)


def _is_session(key: str) -> bool:
    try:
        backups.parse_session_id(key.removeprefix(layout.SESSIONS))
    except errors.InvalidInput:
        return False
    return True
