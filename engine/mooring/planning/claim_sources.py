"""What a claim's first content is copied from, and whether it can be copied now. Pure."""

from dataclasses import dataclass

from mooring.domain import quantities
from mooring.planning import verdicts


@dataclass(frozen=True)
class Source:
    """The source that a VolumeClaim names.

    Attributes:
        label: What it is, for people: for example `VolumeSnapshot monday`.
        ready: Whether it is there and whole.
        hopeless: Whether it will stay as it is until somebody acts.
        reason: One word, when it is not ready.
        message: What is missing and what to do.
        node: The node that holds it, where a copy goes unless something else is asked for.
        size_bytes: Size of the smallest volume that holds it; None when not known.
    """

    label: str
    ready: bool
    hopeless: bool = False
    reason: str = ""
    message: str = ""
    node: str | None = None
    size_bytes: int | None = None


def missing(label: str, advice: str) -> Source:
    """A source that does not exist."""
    text = f"there is no {label} in this namespace; {advice}"
    return Source(label, ready=False, hopeless=True, reason="SourceNotFound", message=text)


def not_ready(label: str, message: str) -> Source:
    """A source that is there and will be ready by itself."""
    return Source(label, ready=False, reason="SourceNotReady", message=message)


def unusable(label: str, message: str) -> Source:
    """A source that cannot be copied as it is."""
    return Source(label, ready=False, hopeless=True, reason="SourceNotUsable", message=message)


def obstacle(source: Source, *, size_bytes: int) -> verdicts.Verdict | None:
    """Returns why a claim cannot be made from a source, or None.

    Args:
        source: The source.
        size_bytes: Size that the claim asks for.
    """
    if not source.ready:
        say = verdicts.stuck if source.hopeless else verdicts.working
        return say(source.reason, source.message)
    if source.size_bytes is not None and size_bytes < source.size_bytes:
        needed = quantities.format_bytes(source.size_bytes)
        return verdicts.stuck(
            "SizeOutOfRange",
            f"{source.label} needs {needed}: set spec.size to {needed} or more",
        )
    return None
