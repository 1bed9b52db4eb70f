"""Run commands in the pod `listener` with the official Python client. Fails with a traceback."""

import sys

import websocket
from kubernetes import client, config
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()


def run(command, **options):
    return stream(
        core.connect_get_namespaced_pod_exec,
        "listener",
        "default",
        command=command,
        stderr=True,
        stdout=True,
        tty=False,
        **options,
    )


assert run(["echo", "hello"], stdin=False) == "hello\n"

shell = run(["sh", "-c", "read x; echo got $x; echo bad >&2; exit 7"], stdin=True, _preload_content=False)
shell.write_stdin("word\n")
shell.run_forever(timeout=20)
assert shell.read_stdout() == "got word\n"
assert shell.read_stderr() == "bad\n"
assert shell.returncode == 7, shell.returncode

# A log over a WebSocket, as the conformance suite reads it.
settings = client.Configuration.get_default_copy()
log = websocket.create_connection(
    settings.host.replace("https", "wss") + "/api/v1/namespaces/default/pods/listener/log",
    subprotocols=["binary.k8s.io"],
    sslopt={
        "ca_certs": settings.ssl_ca_cert,
        "certfile": settings.cert_file,
        "keyfile": settings.key_file,
    },
)
assert log.recv() == b"listening\n"
assert log.recv() == "", "the connection is closed at the log's end"

print("python exec: ok")
