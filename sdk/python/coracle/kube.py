"""A client of the cluster's API with the pod's own token.

The pod's manifest sets ``SSL_CERT_FILE`` to ``/var/run/secrets/kubernetes.io/serviceaccount/ca.crt``; what the client may
do is what a Role grants to its ServiceAccount::

    client = Client.in_cluster()
    for pod in client.get(f"/api/v1/namespaces/{client.namespace}/pods")["items"]:
        print(pod["metadata"]["name"])
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from coracle.http import Answer, fetch

#: Where a pod finds its token and namespace. *Source:* Kubernetes, ServiceAccount admission.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: The API server's name within the cluster.
SERVER = "https://kubernetes.default.svc"

#: Most bytes of one event of a watch: more than an object can have.
EVENT_BYTES_MAX = 4 << 20

#: An object of the API, as JSON has it.
Object = dict[str, Any]


class ApiError(Exception):
    """The server refused."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        #: HTTP status, such as 403.
        self.code = code


@dataclass(frozen=True)
class Event:
    """What became of an object of a collection."""

    #: It is there like this, or it is gone and was like this.
    type: Literal["APPLIED", "DELETED"]
    object: Object


@dataclass(frozen=True)
class Client:
    """A client with the pod's own rights. Paths are those of the API, such as ``/api/v1/pods``."""

    #: The pod's namespace.
    namespace: str

    @classmethod
    def in_cluster(cls) -> Self:
        """Makes a client of the pod that this runs in.

        :raises OSError: when the pod has no token
        """
        return cls((ACCOUNT / "namespace").read_text().strip())

    def _send(self, method: str, path: str, data: Object | None = None, kind: str = "application/json") -> Answer:
        # The token is renewed while the pod runs, so it is read each time.
        token = (ACCOUNT / "token").read_text().strip()
        headers = {"authorization": f"Bearer {token}", "content-type": kind, "accept": "application/json"}
        body = "" if data is None else json.dumps(data)
        answer = fetch(SERVER + path, method=method, headers=headers, body=body)
        if answer.ok:
            return answer
        text = answer.text()
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = text  # Not every refusal is a Status.
        raise ApiError(answer.status, message)

    def get(self, path: str) -> Object:
        """Reads an object or a list."""
        return self._send("GET", path).json()

    def create(self, path: str, data: Object) -> Object:
        """Makes a new object in a collection."""
        return self._send("POST", path, data).json()

    def apply(self, path: str, manager: str, data: Object) -> Object:
        """Makes an object so that it has these fields, as ``manager`` (server-side apply)."""
        query = f"?fieldManager={quote(manager)}&force=true"
        return self._send("PATCH", path + query, data, "application/apply-patch+yaml").json()

    def replace(self, path: str, data: Object) -> Object:
        """Puts an object in the place of what is there, if that is still of the same resourceVersion."""
        return self._send("PUT", path, data).json()

    def merge(self, path: str, patch: Object) -> Object:
        """Changes an object by a merge patch (RFC 7386)."""
        return self._send("PATCH", path, patch, "application/merge-patch+json").json()

    def delete(self, path: str) -> Object:
        """Deletes an object, and in the background what it owns."""
        return self._send("DELETE", path).json()

    def watch(self, path: str) -> Iterator[Event]:
        """Follows a collection: first what is there, then each change, until the server ends it, as it does now and then."""
        collection = self.get(path)
        for item in collection["items"]:
            yield Event("APPLIED", item)
        begin = "&" if "?" in path else "?"
        version = collection["metadata"]["resourceVersion"]
        for line in _lines(self._send("GET", f"{path}{begin}watch=true&resourceVersion={version}")):
            event = json.loads(line)
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise ApiError(item.get("code", 500), item.get("message", ""))
            if kind in ("ADDED", "MODIFIED"):
                yield Event("APPLIED", item)
            elif kind == "DELETED":
                yield Event("DELETED", item)


def _lines(body: Iterator[bytes] | Answer) -> Iterator[bytes]:
    rest = b""
    for piece in body:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > EVENT_BYTES_MAX:
            raise ValueError(f"an event of more than {EVENT_BYTES_MAX} bytes")
