"""A store from its location; a bucket's library is only loaded for a bucket."""

from pathlib import Path

from mooring.adapters.blobstores.call_watch import CallWatch, Told
from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.adapters.blobstores.watched_store import WatchedBlobStore
from mooring.domain import errors
from mooring.domain.store_locations import FolderLocation, StoreLocation
from mooring.ports import blobstores


def open_store(
    location: StoreLocation,
    *,
    credentials: Path | None = None,
    ca_bundle: Path | None = None,
    create: bool = False,
    told: Told | None = None,
) -> blobstores.BlobStore:
    """Opens the store at a location.

    Args:
        location: Where.
        credentials: For a bucket: the folder with files of credentials; see `object_clients`.
        ca_bundle: For a bucket: a file with further certificates to trust.
        create: Whether to make a folder, in a folder that exists. A bucket has to be there.
        told: For a folder: told of calls that do not return; those into a bucket end by themselves.

    Raises:
        NotFound: There is no such folder or file.
        PermissionDenied: It may not be made, entered or read.
        InvalidInput: Credentials or certificates are of another form.
    """
    if isinstance(location, FolderLocation):
        return _open_folder(Path(location.path), create, told)
    # Only here: a backup into a folder shall not wait for this to load.
    from mooring.adapters.blobstores import object_clients, object_store  # noqa: PLC0415

    access = object_clients.BucketAccess(location, credentials, ca_bundle)
    return object_store.ObjectBlobStore(access)


def _open_folder(folder: Path, create: bool, told: Told | None) -> blobstores.BlobStore:
    if told is None:
        if create:
            _make(folder)
        return DirectoryBlobStore(folder)
    watch = CallWatch(str(folder), told)
    with watch.call("open it"):
        return WatchedBlobStore(_open_folder(folder, create, None), watch)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise errors.InvalidInput(f"{folder} is a file, not a folder") from error
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no folder {folder.parent}: make it first") from error
    except OSError as error:
        raise errors.PermissionDenied(f"cannot make {folder}: {error.strerror}") from error
