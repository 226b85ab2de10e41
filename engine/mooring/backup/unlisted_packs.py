"""What is in packs that no readable index segment names: they say it themselves, at their ends.

An index segment that is damaged or gone so costs a reader time, and nothing else. The way is for
what is missed only: it reads one piece of each pack that is asked, and all segments of both kinds.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from mooring.backup import pack_footers
from mooring.backup import repository as repositories
from mooring.backup.format import layout, packs, segments
from mooring.domain import errors
from mooring.ports import blobstores

UNREADABLE = (errors.DataCorrupt, errors.Unsupported)
"""Of what is damaged a bit may say that a newer Mooring wrote it."""

_TOGETHER = 8
_PACKS_AT_ONCE = 64

Listed = tuple[segments.PackInfo, list[packs.PackEntry]]
"""A pack with what it says is in it."""


def read(
    repository: repositories.Repository,
    kind: layout.BlobKind,
    known: Callable[[bytes], bool],
    problems: dict[str, str],
) -> Iterator[list[Listed]]:
    """Yields packs, some at a time, with their chunks of one kind.

    Args:
        repository: Which.
        kind: Of which chunks.
        known: Tells whether a readable segment of this kind names a pack.
        problems: Where to say, by key, what cannot be read, and why.

    Raises:
        Unreachable: The store does not answer.
    """
    others = _named(repository, kind, problems)
    found = (
        info
        for info in repository.store.list(layout.PACKS)
        if (name := layout.pack_name(info.key)) is not None
        and name not in others
        and not known(name)
    )

    def ask(info: blobstores.BlobInfo) -> Listed | None:
        name = layout.pack_name(info.key) or b""
        try:
            salt, entries = pack_footers.read_entries(repository, name, info.size_bytes)
        except errors.NotFound:
            return None
        except UNREADABLE as error:
            problems[info.key] = f"object {info.key} is in no index: {error}"
            return None
        entries = [entry for entry in entries if entry.kind is kind]
        return segments.PackInfo(name, salt, info.size_bytes), entries

    with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="mooring-ask") as pool:
        while some := list(islice(found, _PACKS_AT_ONCE)):
            listed = [one for one in pool.map(ask, some) if one is not None and one[1]]
            if listed:
                yield listed


def _named(
    repository: repositories.Repository, kind: layout.BlobKind, problems: dict[str, str]
) -> set[bytes]:
    """Returns the packs that segments of the other kind name: writers keep the kinds apart."""
    named: set[bytes] = set()
    for info in repository.store.list(layout.INDEX):
        parts = layout.segment_parts(info.key)
        if parts is None or parts[1] is kind:
            continue
        try:
            content = repository.get_sealed(info.key, layout.MAXIMUM_SEGMENT_BYTES)
            named.update(pack.name for pack in segments.decode(content, info.key)[0])
        except errors.NotFound:
            continue  # merged into another segment; the packs are asked then
        except UNREADABLE as error:
            problems[info.key] = str(error)
    return named
