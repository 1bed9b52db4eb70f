"""Configuration that may change while the guest runs: the files of a mounted ConfigMap or Secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


class Config(Mapping[str, str]):
    """The values of a folder, one file a key, as they were when they were last read::

        config = Config("/etc/app")
        print(config.get("title", "untitled"))
        # Between two pieces of work:
        if config.reread():
            print("now", config["title"])
    """

    def __init__(self, folder: str | Path) -> None:
        """Reads a folder. Hidden files are left out: they are the mount's own.

        :raises OSError: when the folder or a file of it cannot be read
        """
        self._folder = Path(folder)
        self._values = self._read()

    def _read(self) -> dict[str, str]:
        files = (file for file in self._folder.iterdir() if not file.name.startswith(".") and file.is_file())
        return {file.name: file.read_text() for file in sorted(files)}

    def reread(self) -> bool:
        """Reads the folder again, and says whether a value is another one. A mount changes as a whole."""
        before, self._values = self._values, self._read()
        return before != self._values

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
