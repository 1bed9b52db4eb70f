#!/usr/bin/env python3
"""Records what a real kube-apiserver answers, into the golden files that apiserver/tests/api/golden.rs replays.

Starts etcd and kube-apiserver in a folder of their own, with RBAC and the admission plugins that are on by default,
sends the requests of each file, and writes the answers into the same file. README.md says how a file reads.

usage: record.py --apiserver PROGRAM --etcd PROGRAM [FILE...]   (default: every file of apiserver/tests/golden)
"""

import argparse
import datetime
import http.client
import json
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile
import time

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "apiserver/tests/golden"
ETCD, PEER, PORT = 24379, 24380, 24443
# What Kubernetes' caches take to see a write; each request waits for it, because an answer must not depend on it.
SETTLE_SECONDS = 0.1
START_SECONDS = 120


class Reference:
    """kube-apiserver on etcd, which end with the `with` block."""

    def __init__(self, apiserver, etcd):
        self.apiserver, self.etcd = apiserver, etcd

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        key = folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, stderr=subprocess.DEVNULL)
        (folder / "tokens.csv").write_text("golden,admin,admin,system:masters\n")
        log = open(folder / "log", "w")
        client, peer = f"http://127.0.0.1:{ETCD}", f"http://127.0.0.1:{PEER}"
        self.processes = [
            subprocess.Popen(
                [self.etcd, "--data-dir", folder / "etcd", "--listen-client-urls", client,
                 "--advertise-client-urls", client, "--listen-peer-urls", peer,
                 "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
                stdout=log, stderr=log),
            subprocess.Popen(
                [self.apiserver, f"--etcd-servers={client}", f"--secure-port={PORT}", "--bind-address=127.0.0.1",
                 "--service-cluster-ip-range=10.96.0.0/12", f"--cert-dir={folder}/certificates",
                 f"--token-auth-file={folder}/tokens.csv", f"--service-account-key-file={key}",
                 f"--service-account-signing-key-file={key}", "--authorization-mode=Node,RBAC",
                 "--service-account-issuer=https://kubernetes.default.svc", "--allow-privileged=true",
                 "--enable-admission-plugins=NodeRestriction", "--external-hostname=localhost"],
                stdout=log, stderr=log),
        ]
        self.wait(lambda: self.ask("GET", "/readyz", {}, b"")[0] == 200, "be ready")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()
        self.folder.cleanup()

    def wait(self, done, what):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                if done():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit(f"kube-apiserver does not {what} within {START_SECONDS} s")

    def ask(self, method, path, headers, body):
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=context, timeout=90)
        headers = {"Authorization": "Bearer golden", "User-Agent": "golden/1", **headers}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def version(self):
        return json.loads(self.ask("GET", "/version", {}, b"")[2])["gitVersion"]

    def serves(self, definition):
        """Waits until a user's kind that was just made is served."""
        spec = definition["spec"]
        version = next(v["name"] for v in spec["versions"] if v["served"])
        path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        self.wait(lambda: self.ask("GET", path, {}, b"")[0] == 200, f"serve {path}")
        time.sleep(1)


def parse(block):
    """A request's lines: its first, its directives, its headers, its body."""
    method, path = block[0].split(" ", 1)
    headers, directives, rest = {}, [], block[1:]
    while rest and (rest[0].startswith("@") or re.match(r"^[A-Z][A-Za-z-]*: ", rest[0])):
        if rest[0].startswith("@"):
            directives.append(rest[0][1:].split())
        else:
            name, value = rest[0].split(": ", 1)
            headers[name] = value
        rest = rest[1:]
    return method, path, directives, headers, "\n".join(rest)


def written(status, headers, body):
    """An answer's lines."""
    kind = headers.get("Content-Type", "-")
    lines = [f"{status} {kind}"]
    for name in ("Warning", "Retry-After", "Allow"):
        lines += [f"{name}: {value}" for value in headers.get_all(name, [])]
    text = body.decode()
    try:
        lines += [json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)]
    except ValueError:
        lines += text.rstrip("\n").split("\n") if text else []
    return ["< " + line for line in lines]


def record(reference, path, header):
    text = path.read_text()
    blocks = [block.split("\n") for block in re.split(r"\n\n+", text.strip()) if block]
    out, kept = [header], {}
    for block in blocks:
        block = [line for line in block if not line.startswith("< ") and line != "<"]
        if block and block[0].startswith("# Recorded"):
            block = block[1:]
        comments = [line for line in block if line.startswith("#")]
        request = [line for line in block if not line.startswith("#")]
        if not request:
            out += ["", *comments] if comments else []
            continue
        filled = "\n".join(request)
        for name, value in kept.items():
            filled = filled.replace("${" + name + "}", value)
        method, target, directives, headers, body = parse(filled.split("\n"))
        for directive in directives:
            if directive[0] == "wait":
                time.sleep(float(directive[1]))
        time.sleep(SETTLE_SECONDS)
        status, answer_headers, answer = reference.ask(method, target, headers, body.encode())
        for directive in directives:
            if directive[0] == "keep":
                if status >= 300:
                    sys.exit(f"{path.name}: {method} {target} has nothing to keep: {status} {answer.decode()}\n{out[-1]}")
                value = json.loads(answer)
                for step in directive[2].strip("/").split("/"):
                    value = value[int(step)] if isinstance(value, list) else value[step]
                kept[directive[1]] = str(value)
        if method == "POST" and status == 201 and target.startswith(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions") and "dryRun" not in target:
            reference.serves(json.loads(answer))
        out += ["", *comments, *request, *written(status, answer_headers, answer)]
    path.write_text("\n".join(out) + "\n")
    print(f"{path.name}: {len(blocks)} requests")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--apiserver", required=True)
    options.add_argument("--etcd", required=True)
    options.add_argument("files", nargs="*", type=pathlib.Path)
    given = options.parse_args()
    etcd = subprocess.run([given.etcd, "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    for path in given.files or sorted(GOLDEN.glob("*.golden")):
        with Reference(given.apiserver, given.etcd) as reference:
            today = datetime.date.today().isoformat()
            record(reference, path, f"# Recorded against kube-apiserver {reference.version()} with etcd {etcd}, {today}")


if __name__ == "__main__":
    main()
