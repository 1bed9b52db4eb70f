"""Builds both components with componentize-py, which `python3 build.py tools` installs into the folder .tools."""

import subprocess
import sys
import venv
from pathlib import Path

TOOLS = Path(".tools")


def tools() -> None:
    venv.create(TOOLS, with_pip=True)
    subprocess.run([TOOLS / "bin/pip", "install", "--quiet", "componentize-py==0.25.1"], check=True)


def component(name: str, *more: str) -> subprocess.Popen:
    """Begins to build the component of a world, which has the module's name."""
    program = [TOOLS / "bin/componentize-py", "-d", "wit", "-w", name, "componentize"]
    return subprocess.Popen([*program, *more, name, "-o", f"{name}.wasm"], stdout=subprocess.DEVNULL)


if sys.argv[1:] == ["tools"]:
    tools()
else:
    # Nothing of the system is let into the plugin: it imports nothing at all.
    building = [component("plugin", "--stub-wasi"), component("app")]
    if any([each.wait() for each in building]):
        sys.exit("a component was not built")
