"""Whether a store's conditional writes hold: there are servers that ignore the condition.

Others look first and write then, so that racing writers get past the look together. A race of a
few writers finds those out, as good as always: between looking and writing they read the request.
"""

import contextlib
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mooring.domain import errors
from mooring.ports import blobstores

FOLDER = "probes/"
_RACERS = 4
_ROUNDS = 3
_RACE_BYTES = 64 << 10


def writes_are_conditional(store: blobstores.BlobStore) -> bool:
    """Tries on objects of its own whether a condition that fails keeps a write out.

    Without the right to delete the objects stay; anybody may delete them.

    Raises:
        ReadOnly: The store refuses writes.
        Unreachable: It does not answer.
    """
    name = FOLDER + secrets.token_hex(8)
    keys = [f"{name}.{number}" for number in range(_ROUNDS + 1)]
    try:
        return _condition_holds(store, keys[0]) and all(_one_wins(store, key) for key in keys[1:])
    except errors.Unsupported:
        return False
    finally:
        for key in keys:
            with contextlib.suppress(errors.MooringError):
                store.delete(key)


def _condition_holds(store: blobstores.BlobStore, key: str) -> bool:
    store.put(key, b"first")
    with contextlib.suppress(errors.AlreadyExists):
        store.put(key, b"again")
        return False
    first = _version(store, key)
    second = store.replace(key, b"second", version=first)
    with contextlib.suppress(errors.PreconditionFailed):
        store.replace(key, b"third", version=first)
        return False
    return _version(store, key) == second != first


def _one_wins(store: blobstores.BlobStore, key: str) -> bool:
    if _winners(lambda content: store.put(key, content)) != 1:
        return False
    version = _version(store, key)
    return _winners(lambda content: store.replace(key, content, version=version)) == 1


def _winners(write: Callable[[bytes], object]) -> int:
    """Lets racers write at once, and returns how many were told that they had written."""
    start = threading.Barrier(_RACERS)

    def race(_: int) -> bool:
        content = secrets.token_bytes(_RACE_BYTES)
        start.wait()
        try:
            write(content)
        except (errors.AlreadyExists, errors.PreconditionFailed):
            return False
        return True

    with ThreadPoolExecutor(_RACERS) as pool:
        return sum(pool.map(race, range(_RACERS)))


def _version(store: blobstores.BlobStore, key: str) -> str:
    info = store.head(key)
    return "" if info is None else info.version
