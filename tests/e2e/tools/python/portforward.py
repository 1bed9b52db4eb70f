"""Forward a port with the official Python client. Fails with a traceback."""

import sys

from kubernetes import client, config
from kubernetes.stream import portforward

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()

forward = portforward(
    core.connect_get_namespaced_pod_portforward, sys.argv[2], "default", ports="8080,81"
)
http = forward.socket(8080)
http.setblocking(True)
http.sendall(b"GET / HTTP/1.0\r\nHost: pod\r\n\r\n")
answer = b""
while True:
    piece = http.recv(4096)
    if not piece:
        break
    answer += piece
http.close()
assert answer.endswith(b"\r\n\r\nhello\n"), answer
assert forward.error(8080) is None, forward.error(8080)
assert "connection refused" in forward.error(81), forward.error(81)

print("python port-forward: ok")
