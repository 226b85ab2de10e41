"""Requests that are spoilt in one place, by the descriptors of their messages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

MIB = 1 << 20
GIB = 1 << 30
STRINGS = (
    "", "..", "../../etc/passwd", "/etc/../etc/shadow", "//", "a\0b", "\n", "\x1b[0m", "x" * 129,
    "x" * 5000, "é" * 65, "é" * 5000, "\ufffe", "vol-", "/k/" + "y" * 300, "/a" * 2500, "NaN", "-1",
    "1e999", "yes",
)  # fmt: skip
INTEGERS = (0, 1, -1, MIB - 1, GIB, 2 * GIB, (1 << 63) - 1, -(1 << 63))
DOUBLES = (0.0, -1.0, 1e-9, 1e308, float("nan"), float("inf"), float("-inf"))
BYTES = (b"", b"\0", b"\xff" * 40, b"-----BEGIN", b"x" * 5000)


class Spoiler:
    """Replaces one string, number or entry of a message, anywhere in it.

    Args:
        draw: Draws from a strategy of hypothesis.
        strings: What stands for a string, besides any text.
        octets: What stands for bytes, besides any.
    """

    def __init__(
        self,
        draw: Callable[[st.SearchStrategy[Any]], Any],
        strings: Sequence[str] = STRINGS,
        octets: st.SearchStrategy[bytes] = st.one_of(st.sampled_from(BYTES), st.binary()),  # noqa: B008
    ) -> None:
        self._draw = draw
        self._strings = st.one_of(st.sampled_from(strings), st.text(max_size=40))
        self._octets = octets

    def spoil(self, message: Message) -> None:
        """Spoils a message that has fields."""
        field = self._draw(st.sampled_from(list(message.DESCRIPTOR.fields)))
        here = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            keys = st.one_of(st.sampled_from(sorted(here) or ["pool"]), self._strings)
            here[self._draw(keys)] = self._draw(self._strings)
        elif field.message_type is not None and not field.is_repeated:
            self.spoil(here) if field.message_type.fields else here.SetInParent()
        elif field.message_type is not None:
            self.spoil(here[0] if here and self._draw(st.booleans()) else here.add())
        elif field.is_repeated:
            here.append(self._draw(self._value(field)))
        else:
            setattr(message, field.name, self._draw(self._value(field)))

    def _value(self, field: FieldDescriptor) -> st.SearchStrategy[Any]:
        return {
            FieldDescriptor.TYPE_STRING: self._strings,
            FieldDescriptor.TYPE_BYTES: self._octets,
            FieldDescriptor.TYPE_BOOL: st.booleans(),
            FieldDescriptor.TYPE_ENUM: st.integers(-1, 12),
            FieldDescriptor.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
            FieldDescriptor.TYPE_INT64: st.one_of(
                st.sampled_from(INTEGERS), st.integers(-(1 << 63), (1 << 63) - 1)
            ),
            FieldDescriptor.TYPE_DOUBLE: st.one_of(st.sampled_from(DOUBLES), st.floats()),
        }[field.type]


def ending(
    call: Callable[[Any], Any], request: Message | bytes
) -> tuple[grpc.StatusCode, str, Mapping[str, str]]:
    """Calls, and reads to its end what is a stream; returns code, details and what trails."""
    try:
        answer = call(request)
        if isinstance(answer, Iterable):
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details(), dict(error.trailing_metadata() or ())
    return grpc.StatusCode.OK, "", {}


def outcome(call: Callable[[Any], Any], request: Message | bytes) -> tuple[grpc.StatusCode, str]:
    """Calls, and reads to its end what is a stream; returns code and details."""
    return ending(call, request)[:2]
