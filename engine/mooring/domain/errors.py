"""The one error tree. Each shell translates it once: gRPC code, condition and event, exit code.

A message says what is wrong and what to do next, and never holds a secret.

```
MooringError
├── InvalidInput            the request can never succeed as written
│   └── SizeOutOfRange      a size that the volume, pool or source cannot have
├── NotFound                the named thing does not exist
├── AlreadyExists           the name is taken by something different
├── PreconditionFailed      the request is right, the state is not; the user has to act
│   ├── InUse               something still uses the volume or snapshot
│   ├── Unsupported         this pool or build cannot do it
│   └── AnotherRepository   the store holds another repository than was meant
├── Busy                    another operation holds it; retry
│   └── Fragmented          its image is in too many pieces to be copied in time; retry later
├── Unreachable             a node, store or API server does not answer; retry
│   └── NeverReached        the call was surely not sent, so nothing was done
├── SpaceExhausted          the pool or store has no room
├── PermissionDenied        the caller may not
│   ├── WrongKey            this key does not open the repository
│   └── ReadOnly            the store refuses writes
├── DataCorrupt             bytes are not what was written; nothing was changed
│   └── Suspect             a backup stands, of a volume that is not what it was
├── HostFailure             a command or system call failed on this node
└── Cancelled               stopped on request before it was done; nothing half-made is visible
```
"""


class MooringError(Exception):
    """Root of every error that Mooring raises on purpose.

    Attributes:
        reason: One CamelCase word, stable, fit for a condition's `reason`.
    """

    reason = "Failed"


class InvalidInput(MooringError):
    """The request can never succeed as it is written."""

    reason = "InvalidInput"


class SizeOutOfRange(InvalidInput):
    """A size in bytes that the volume, pool or source cannot have."""

    reason = "SizeOutOfRange"


class NotFound(MooringError):
    """The named thing does not exist."""

    reason = "NotFound"


class AlreadyExists(MooringError):
    """The name is taken by something different from what was asked for."""

    reason = "AlreadyExists"


class PreconditionFailed(MooringError):
    """The request is right but the state is not; somebody has to act before a retry helps."""

    reason = "PreconditionFailed"


class InUse(PreconditionFailed):
    """A pod, a mount, a clone or a restore still uses it."""

    reason = "InUse"


class Unsupported(PreconditionFailed):
    """This pool backend, kernel or build cannot do what was asked."""

    reason = "Unsupported"


class AnotherRepository(PreconditionFailed):
    """What is in the store is not the repository that was meant; nothing was changed."""

    reason = "AnotherRepository"


class Busy(MooringError):
    """Another operation on the same thing is under way; the same call may succeed later."""

    reason = "Busy"


class Fragmented(Busy):
    """The image is in too many pieces to be copied within a freeze; the node is joining them."""

    reason = "Fragmented"


class Unreachable(MooringError):
    """A node, repository or API server does not answer; the same call may succeed later."""

    reason = "Unreachable"


class NeverReached(Unreachable):
    """The call was surely not sent, so nothing was done; a plain Unreachable may have acted."""

    reason = "NeverReached"


class SpaceExhausted(MooringError):
    """The pool or the repository has no room for this."""

    reason = "SpaceExhausted"


class PermissionDenied(MooringError):
    """The caller is not allowed to do this."""

    reason = "PermissionDenied"


class WrongKey(PermissionDenied):
    """The repository was made with another key or passphrase."""

    reason = "WrongKey"


class ReadOnly(PermissionDenied):
    """The store refuses writes: it is read-only, or belongs to another user."""

    reason = "ReadOnly"


class DataCorrupt(MooringError):
    """Bytes are not what was written. Nothing was changed."""

    reason = "DataCorrupt"


class Suspect(DataCorrupt):
    """A backup was made, and its volume lost bytes below since an earlier one, or seems to have."""

    reason = "Suspect"


class HostFailure(MooringError):
    """A command or a system call failed on this node."""

    reason = "HostFailure"


class Cancelled(MooringError):
    """Somebody asked for it to stop before it was done. Nothing half-made is visible."""

    reason = "Cancelled"
