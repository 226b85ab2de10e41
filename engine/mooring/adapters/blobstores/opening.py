"""A store from its location; a bucket's library is only loaded for a bucket."""

from pathlib import Path

from mooring.adapters.blobstores.directory import DirectoryBlobStore
from mooring.domain import errors
from mooring.domain.store_locations import FolderLocation, StoreLocation
from mooring.ports import blobstores


def open_store(
    location: StoreLocation,
    *,
    credentials: Path | None = None,
    ca_bundle: Path | None = None,
    create: bool = False,
) -> blobstores.BlobStore:
    """Opens the store at a location.

    Args:
        location: Where.
        credentials: For a bucket: the folder with files of credentials; see `object_clients`.
        ca_bundle: For a bucket: a file with further certificates to trust.
        create: Whether to make a folder, in a folder that exists. A bucket has to be there.

    Raises:
        NotFound: There is no such folder or file.
        PermissionDenied: It may not be made, entered or read.
        InvalidInput: Credentials or certificates are of another form.
    """
    if isinstance(location, FolderLocation):
        folder = Path(location.path)
        if create:
            _make(folder)
        return DirectoryBlobStore(folder)
    # Only here: a backup into a folder shall not wait for this to load.
    from mooring.adapters.blobstores import object_clients, object_store  # noqa: PLC0415

    access = object_clients.BucketAccess(location, credentials, ca_bundle)
    return object_store.ObjectBlobStore(access)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise errors.InvalidInput(f"{folder} is a file, not a folder") from error
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no folder {folder.parent}: make it first") from error
    except OSError as error:
        raise errors.PermissionDenied(f"cannot make {folder}: {error.strerror}") from error
