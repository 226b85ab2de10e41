"""Whether a store's conditional writes hold: there are servers that ignore the condition."""

import contextlib
import secrets

from mooring.domain import errors
from mooring.ports import blobstores

FOLDER = "probes/"


def writes_are_conditional(store: blobstores.BlobStore) -> bool:
    """Tries on an object of its own whether a condition that fails keeps a write out.

    Without the right to delete the object stays; anybody may delete it.

    Raises:
        ReadOnly: The store refuses writes.
        Unreachable: It does not answer.
    """
    key = FOLDER + secrets.token_hex(8)
    try:
        return _condition_holds(store, key)
    except errors.Unsupported:
        return False
    finally:
        with contextlib.suppress(errors.MooringError):
            store.delete(key)


def _condition_holds(store: blobstores.BlobStore, key: str) -> bool:
    store.put(key, b"first")
    with contextlib.suppress(errors.AlreadyExists):
        store.put(key, b"again")
        return False
    first = store.head(key)
    if first is None:
        return False
    second = store.replace(key, b"second", version=first.version)
    with contextlib.suppress(errors.PreconditionFailed):
        store.replace(key, b"third", version=first.version)
        return False
    found = store.head(key)
    return found is not None and found.version == second != first.version
