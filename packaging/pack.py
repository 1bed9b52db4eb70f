#!/usr/bin/env python3
"""Packs a built binary into what people install: `packaging/pack.py BINARY TARGET OUT`.

OUT gets
- coracle-VERSION-TARGET.tar.gz: the binary, manual pages, completions, systemd units, the licence;
- coracle-VERSION-TARGET.oci.tar: a container image from scratch, as an OCI image layout, that holds the binary alone;
- SHA256SUMS over all files of OUT.

The same binary and commit give the same bytes: entries are sorted, and owners and times do not come from this machine.
The time is SOURCE_DATE_EPOCH, or else that of the commit. https://reproducible-builds.org/specs/source-date-epoch/
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SHELLS = ("bash", "zsh", "fish")
# Of gzip: 9 takes three times as long as 6 and saves one part in a hundred.
LEVEL = int(os.environ.get("GZIP_LEVEL", "6"))
# Nobody: the image's user, who owns nothing but the data directory.
USER = 65532


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit("usage: packaging/pack.py BINARY TARGET OUT, e.g. target/release/coracle x86_64-unknown-linux-musl dist")
    binary, target, out = Path(sys.argv[1]).resolve(), sys.argv[2], Path(sys.argv[3])
    architecture = ARCHITECTURES.get(target.split("-")[0])
    if architecture is None:
        sys.exit(f"error: {target} begins with none of {', '.join(ARCHITECTURES)}: name a target as rustc does")
    version = run(binary, "--version").split()[1]
    name = f"coracle-{version}-{target}"
    out.mkdir(parents=True, exist_ok=True)
    epoch = commit_time()
    archive = tar([(f"{name}/{path}", mode, data) for path, mode, data in files(binary)], epoch)
    (out / f"{name}.tar.gz").write_bytes(gzip.compress(archive, LEVEL, mtime=epoch))
    (out / f"{name}.oci.tar").write_bytes(image(binary, architecture, version, epoch))
    sums = [f"{digest(path.read_bytes())}  {path.name}\n" for path in sorted(out.iterdir()) if path.suffix != ".sig"]
    (out / "SHA256SUMS").write_text("".join(line for line in sums if "SHA256SUMS" not in line))


def run(*command) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def commit_time() -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct"))


def files(binary: Path):
    """What the archive holds: path, mode, bytes."""
    yield "bin/coracle", 0o755, binary.read_bytes()
    for shell in SHELLS:
        yield f"completions/coracle.{shell}", 0o644, run(binary, "completion", shell).encode()
    with tempfile.TemporaryDirectory() as folder:
        run(binary, "man", folder)
        for page in Path(folder).iterdir():
            yield f"man/man1/{page.name}", 0o644, page.read_bytes()
    for path in [*(ROOT / "packaging/systemd").iterdir(), ROOT / "LICENSE", ROOT / "CHANGELOG.md"]:
        folder = "systemd/" if path.suffix == ".service" else ""
        yield f"{folder}{path.name}", 0o644, path.read_bytes()


def tar(entries, epoch: int) -> bytes:
    """An uncompressed archive. A mode with a directory's bit makes a directory; such are the image user's."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, mode, data in sorted(entries):
            entry = tarfile.TarInfo(path)
            entry.mtime, entry.mode, entry.size = epoch, mode & 0o7777, len(data)
            if mode & 0o40000:
                entry.type, entry.uid, entry.gid = tarfile.DIRTYPE, USER, USER
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def image(binary: Path, architecture: str, version: str, epoch: int) -> bytes:
    """*Source:* OCI image specification 1.1, image layout."""
    layer = tar(
        [("coracle", 0o755, binary.read_bytes()), ("tmp", 0o41777, b""), ("var/lib/coracle", 0o40700, b"")], epoch
    )
    compressed = gzip.compress(layer, LEVEL, mtime=epoch)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    config = as_json({
        "architecture": architecture,
        "os": "linux",
        "created": made,
        "config": {
            "Entrypoint": ["/coracle"],
            "Cmd": ["server", "--listen", "0.0.0.0:6443"],
            "Env": ["CORACLE_DATA_DIR=/var/lib/coracle"],
            "ExposedPorts": {"6443/tcp": {}, "15008/tcp": {}},
            "User": f"{USER}:{USER}",
            "Volumes": {"/var/lib/coracle": {}},
            "Labels": {"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}"]},
        "history": [{"created": made, "created_by": "packaging/pack.py"}],
    })
    oci = "application/vnd.oci.image"
    manifest = as_json({
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": descriptor(f"{oci}.config.v1+json", config),
        "layers": [descriptor(f"{oci}.layer.v1.tar+gzip", compressed)],
    })
    reference = {"annotations": {"org.opencontainers.image.ref.name": version}}
    index = as_json({
        "schemaVersion": 2,
        "mediaType": f"{oci}.index.v1+json",
        "manifests": [descriptor(f"{oci}.manifest.v1+json", manifest) | reference],
    })
    blobs = [(f"blobs/sha256/{digest(blob)}", 0o644, blob) for blob in (config, compressed, manifest)]
    layout = ("oci-layout", 0o644, as_json({"imageLayoutVersion": "1.0.0"}))
    return tar([layout, ("index.json", 0o644, index), *blobs], epoch)


def descriptor(media_type: str, blob: bytes) -> dict:
    return {"mediaType": media_type, "digest": f"sha256:{digest(blob)}", "size": len(blob)}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def as_json(value) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
