"""What a server of Mooring's puts around each of its calls, in the one form that grpc knows."""

from collections.abc import Callable
from typing import Any

import grpc

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""A method of a service: a request and its context to an answer."""


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
            self._around(handler_call_details.method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
