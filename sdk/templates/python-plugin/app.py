"""An application that leaves a part of its work to whatever component is plugged in."""

from wit_world.imports import text


class Run:
    def run(self) -> None:
        print(text.transform("hello, world"), flush=True)
