"""Answers with a greeting, a mounted file, and what the cluster's API says to this pod; with `sdk/python`."""

import os

from coracle.config import Config
from coracle.http import Request, Response, serve
from coracle.kube import ApiError, Client


def answer(request: Request) -> Response:
    match request.path:
        case "/note":
            return Response(Config("/etc/notes")["note"])
        case "/pods":
            return pods(Client.in_cluster())
        case _:
            return Response(f"hello from Python, {os.environ.get('NAME', 'nobody')}\n")


def pods(client: Client) -> Response:
    try:
        found = client.get(f"/api/v1/namespaces/{client.namespace}/pods")
    except ApiError as error:
        return Response(str(error), error.code)
    return Response.json([pod["metadata"]["name"] for pod in found["items"]])


IncomingHandler = serve(answer)
