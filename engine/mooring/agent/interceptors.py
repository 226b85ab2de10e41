"""What a server of Mooring's puts around each of its calls, in the one form that grpc knows."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mooring.domain import errors

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""A method of a service: a request and its context to an answer."""

UNREADABLE = object()
"""The request of a call whose bytes are no message."""


class UnaryInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Wraps every unary method of a server.

    Args:
        around: Returns the wrapped method; takes its full name and the method itself.
    """

    def __init__(self, around: Callable[[str, Behaviour], Behaviour]) -> None:
        self._around = around

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Wraps the handler of one method."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._around(handler_call_details.method, _refusing_unreadable(handler.unary_unary)),
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
