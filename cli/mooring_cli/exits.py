"""Exit codes: stable numbers, so that scripts and the operator can branch on them.

What each means is told in docs/reference/exit-codes.md.
"""

import sys

from mooring.domain import errors

BUG = 1
USAGE = 2

_CODES: dict[type[errors.MooringError], int] = {
    errors.InvalidInput: 2,
    errors.NotFound: 3,
    errors.AlreadyExists: 4,
    errors.PreconditionFailed: 5,
    errors.PermissionDenied: 6,
    errors.SpaceExhausted: 7,
    errors.DataCorrupt: 8,
    errors.HostFailure: 9,
    errors.Busy: 10,
    errors.Unreachable: 11,
    errors.Cancelled: 12,
    errors.MooringError: 13,
}

_NEXT: dict[type[errors.MooringError], str] = {
    errors.NotFound: "mooring backups --repo REPO --key-file FILE",
    errors.DataCorrupt: "mooring repo check --full --repo REPO --key-file FILE",
    errors.Suspect: "mooring repair-block BACKUP IMAGE --dry-run --repo REPO --key-file FILE",
    errors.PermissionDenied: "mooring repo info --repo REPO --key-file FILE",
    errors.SpaceExhausted: "make room there, and the same command again: what was sent is kept",
    errors.HostFailure: "dmesg | tail, which says what the kernel met",
    errors.Busy: "the same command again",
    errors.Unreachable: "the same command again: what was sent is kept",
    errors.Cancelled: "the same command again: what was sent is kept",
    errors.AnotherRepository: "mooring repo info --repo REPO --key-file FILE",
    errors.InUse: "findmnt DEVICE, and umount what it shows",
    errors.InvalidInput: "the command with --help",
}


_NEXT_IN_CLUSTER: dict[type[errors.MooringError], str] = {
    errors.NotFound: "kubectl mooring undelete, for what is in the trash",
    errors.Busy: "the same command again",
    errors.Unreachable: "the same command again",
    errors.InvalidInput: "the command with --help",
}
_NEXT_OF_SCHEDULES: dict[type[errors.MooringError], str] = {
    **_NEXT_IN_CLUSTER,
    errors.NotFound: "kubectl get backupschedules -A",
    errors.Busy: "kubectl get backupschedules -A -o wide, and the same command again",
}
_NEXT_OF_EXTRACT: dict[type[errors.MooringError], str] = {
    **_NEXT,
    errors.NotFound: "mooring mount BACKUP MOUNTPOINT, and look around; mooring backups lists them",
    errors.SpaceExhausted: "make room there, or name another folder with --to or --scratch",
    errors.Unreachable: "the same command again",
    errors.Cancelled: "the same command again",
}
_NEXT_OF_RESTORE: dict[type[errors.MooringError], str] = {
    **_NEXT,
    errors.SpaceExhausted: "make room there, and the same command again",
    errors.Unreachable: "the same command again: what was written is kept",
    errors.Cancelled: "the same command again: what was written is kept",
}
_TABLES = {
    "restore": _NEXT_OF_RESTORE,
    "extract": _NEXT_OF_EXTRACT,
    "mount": _NEXT_OF_EXTRACT,
    "undelete": _NEXT_IN_CLUSTER,
    "forget-node": _NEXT_IN_CLUSTER,
    "recover": _NEXT_IN_CLUSTER,
    "backup-now": _NEXT_OF_SCHEDULES,
}
"""By command; others work on a repository."""


def exit_code(error: errors.MooringError) -> int:
    """Returns the exit code of an error: that of its nearest class in the table."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def next_command(error: errors.MooringError, command: str = "") -> str | None:
    """Returns what to try next, or None when the message says all.

    Args:
        error: What went wrong.
        command: The command that met it.
    """
    table = _TABLES.get(command, _NEXT)
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


def words(program: str, error: errors.MooringError) -> str:
    """Returns what is said on standard error: what went wrong, and what to try next."""
    following = next_command(error, "".join(sys.argv[1:2]))
    return f"{program}: {error}" + (f"\ntry: {following}" if following else "")
