"""What a server of Mooring's puts around each of its calls, in the one form that grpc knows."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mooring.domain import errors

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""A method of a service: a request and its context to an answer."""

_ONE_ANSWER = grpc.unary_unary_rpc_method_handler
_STREAM = grpc.unary_stream_rpc_method_handler
UNREADABLE = object()
"""The request of a call whose bytes are no message."""


Around = Callable[[str, Behaviour], Behaviour]
"""Returns the wrapped method; takes its full name and the method itself."""


class CallInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Wraps every method of a server; one that nothing is put around is not served.

    Args:
        around: For methods with one answer.
        around_stream: For methods with a stream of answers; None when the server has none.
    """

    def __init__(self, around: Around, around_stream: Around | None = None) -> None:
        self._around = around
        self._around_stream = around_stream

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Wraps the handler of one method."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        if handler.unary_unary is not None:
            inner, around, make = handler.unary_unary, self._around, _ONE_ANSWER
        elif handler.unary_stream is not None and self._around_stream is not None:
            inner, around, make = handler.unary_stream, self._around_stream, _STREAM
        else:
            return None
        return make(
            around(handler_call_details.method, _refusing_unreadable(inner)),
            request_deserializer=_readable(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


def _readable(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Marks bytes that are no message, which grpc itself would answer as a fault of the server."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return UNREADABLE

    return read


def _refusing_unreadable(behaviour: Behaviour) -> Behaviour:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        if request is UNREADABLE:
            raise errors.InvalidInput(
                "the request is no message of this interface: a string in it may be no UTF-8"
            )
        return behaviour(request, context)

    return call
