"""A certificate authority in a folder, for processes of one machine without a cluster.

Whoever can read the folder can be anybody, so it is for development and tests; in a cluster only
the operator holds the authority.
"""

import os
from pathlib import Path

from mooring.agent import authorization, certificates, renewal
from mooring.domain import errors
from mooring.ports import clock as clock_port

_NAME = "authority.pem"


class FolderAuthorityStore:
    """Keeps the authority in one file, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> bytes | None:
        """Returns what is stored, or None before the first time."""
        try:
            return (self._folder / _NAME).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise errors.Unreachable(f"{self._folder / _NAME} cannot be read") from error

    def create(self, content: bytes) -> bytes:
        """Stores the content if there is none, and returns what is stored then."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._folder / f".{_NAME}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, self._folder / _NAME)
        except FileExistsError:
            return self.read() or content
        finally:
            temporary.unlink()
        return content


def current_certificate(
    folder: Path, identity: authorization.Identity, clock: clock_port.Clock
) -> renewal.CurrentCertificate:
    """Returns a certificate that a folder's authority signs and renews.

    Raises:
        NotFound: There is no authority in the folder.
    """
    content = FolderAuthorityStore(folder).read()
    if content is None:
        raise errors.NotFound(f"{folder} holds no authority: run mooring-csi make-tls {folder}")
    authority = certificates.CertificateAuthority(content)
    return renewal.CurrentCertificate(lambda: authority.issue(identity, clock.now()), clock)
