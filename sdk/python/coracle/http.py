"""Answers requests, and sends them.

An app is a function of a request::

    from coracle.http import Request, Response, serve

    def answer(request: Request) -> Response:
        return Response(f"hello, {request.path}\\n")

    IncomingHandler = serve(answer)

``componentize-py`` makes a component of it, for the world ``wasi:http/proxy``.
"""

from __future__ import annotations

import json as jsons
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import outgoing_handler, types
from wit_world.imports.streams import StreamError_Closed

#: Bytes that are read at once.
READ_BYTES = 65_536

#: Most bytes that a stream takes at once. *Source:* wasi:io/streams, blocking-write-and-flush.
WRITE_BYTES_MAX = 4_096


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    #: In capitals: ``GET``.
    method: str
    #: With its query: ``/cart?of=maria``.
    path: str
    #: By names in small letters.
    headers: Mapping[str, str]
    body: bytes

    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON.

        :raises ValueError: when it is none
        """
        return jsons.loads(self.body)


@dataclass(frozen=True)
class Response:
    """What is answered."""

    body: str | bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Self:
        """An answer in JSON."""
        return cls(jsons.dumps(value), status, {"content-type": "application/json"})


def serve(answer: Callable[[Request], Response]) -> type[exports.IncomingHandler]:
    """Makes of a function what a component exports.

    When the function raises, the trace is in the container's log and the answer is 500.
    """

    class IncomingHandler(exports.IncomingHandler):
        def handle(self, request: types.IncomingRequest, response_out: types.ResponseOutparam) -> None:
            try:
                made = answer(_read(request))
            except Exception:  # noqa: BLE001: whatever went wrong is the program's
                traceback.print_exc(file=sys.stderr)
                made = Response("the service failed\n", 500)
            _send(made, response_out)

    return IncomingHandler


def _method(method: types.Method) -> str:
    other = getattr(method, "value", None)
    return (other or type(method).__name__.removeprefix("Method_")).upper()


def _headers(fields: types.Fields) -> dict[str, str]:
    with fields:
        return {name.lower(): value.decode() for name, value in fields.entries()}


def _read(request: types.IncomingRequest) -> Request:
    body = b"".join(_pieces(request.consume()))
    path = request.path_with_query() or "/"
    return Request(_method(request.method()), path, _headers(request.headers()), body)


def _pieces(body: types.IncomingBody) -> Iterator[bytes]:
    """The pieces of a body, as they come."""
    with body, body.stream() as stream:
        while True:
            try:
                piece = stream.blocking_read(READ_BYTES)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return
                raise
            if piece:
                yield piece


def _write(body: types.OutgoingBody, data: bytes) -> None:
    with body.write() as stream:
        for begin in range(0, len(data), WRITE_BYTES_MAX):
            stream.blocking_write_and_flush(data[begin : begin + WRITE_BYTES_MAX])
    types.OutgoingBody.finish(body, None)


def _send(made: Response, response_out: types.ResponseOutparam) -> None:
    data = made.body.encode() if isinstance(made.body, str) else made.body
    headers = {"content-length": str(len(data)), **made.headers}
    fields = types.Fields.from_list([(name, value.encode()) for name, value in headers.items()])
    response = types.OutgoingResponse(fields)
    response.set_status_code(made.status)
    body = response.body()
    types.ResponseOutparam.set(response_out, Ok(response))
    _write(body, data)


class Answer:
    """The answer to a request; its body is read once."""

    def __init__(self, response: types.IncomingResponse) -> None:
        self._response = response
        self.status: int = response.status()
        self.headers: Mapping[str, str] = _headers(response.headers())

    @property
    def ok(self) -> bool:
        """Whether the status is of the kind 2xx."""
        return 200 <= self.status < 300

    def __iter__(self) -> Iterator[bytes]:
        """The pieces of the body, as they come."""
        return _pieces(self._response.consume())

    def read(self) -> bytes:
        """The body."""
        return b"".join(self)

    def text(self) -> str:
        """The body as text."""
        return self.read().decode()

    def json(self) -> Any:
        """The body as JSON."""
        return jsons.loads(self.read())


def fetch(
    url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: str | bytes = b""
) -> Answer:
    """Sends a request, and gives its answer as soon as that has begun.

    What a pod reaches is said by its NetworkPolicies and by ``coracle.dev/egress``.

    :raises ConnectionError: when there is no answer, with what stood in the way
    :raises ValueError: when this is no URL of HTTP
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"'{url}' must begin with http:// or https://")
    fields = types.Fields.from_list([(name, value.encode()) for name, value in (headers or {}).items()])
    request = types.OutgoingRequest(fields)
    known = getattr(types, f"Method_{method.capitalize()}", None)
    request.set_method(known() if known else types.Method_Other(method))
    request.set_scheme(types.Scheme_Https() if parts.scheme == "https" else types.Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    outgoing = request.body()
    try:
        coming = outgoing_handler.handle(request, None)
        _write(outgoing, body.encode() if isinstance(body, str) else body)
        with coming.subscribe() as pollable:
            pollable.block()
        got = coming.get()
        result = got.value if isinstance(got, Ok) else got
        if isinstance(result, Err):
            raise result
    except Err as error:
        raise ConnectionError(f"{method} {url}: {error.value}") from None
    return Answer(result.value if isinstance(result, Ok) else result)
