"""What of a request may be logged: never a secret, never a token, whatever field carries it.

The interface marks secret fields with an option. Kubernetes also puts service account tokens into
the volume context, which no option marks, so that key is dropped by name. Mount flags may be
sensitive by the interface's own words, and only their number is shown.
"""

from typing import Any

from google.protobuf import descriptor
from google.protobuf.message import Message

from mooring_csi._generated import csi_pb2

_TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
_SENSITIVE_LISTS = frozenset({"mount_flags"})
_LONGEST_TEXT = 256


def sanitized(message: Message) -> dict[str, Any]:
    """Returns the set fields of a message as plain values, without what must not be logged."""
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        if _is_secret(field):
            shown[field.name] = "***stripped***"
        elif field.name in _SENSITIVE_LISTS:
            shown[field.name] = f"{len(value)} flags"
        else:
            shown[field.name] = _plain(field, value)
    return shown


def _is_secret(field: descriptor.FieldDescriptor) -> bool:
    options = field.GetOptions()
    return bool(options.Extensions[csi_pb2.csi_secret])  # type: ignore[index]


def _plain(field: descriptor.FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {_text(key): _text(item) for key, item in value.items() if key != _TOKENS}
    if field.message_type is not None and field.is_repeated:
        return [sanitized(item) for item in value]
    if field.message_type is not None:
        return sanitized(value)
    if field.is_repeated:
        return [_scalar(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
