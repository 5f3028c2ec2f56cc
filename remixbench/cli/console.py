"""What commands share: the options that stand before a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from remixbench.progress import SILENT, Progress, reporter


@dataclass(frozen=True)
class Settings:
    """The options that stand before the command."""

    workspace: Path
    quiet: bool

    def progress(self) -> Progress:
        """Return what long work reports to: nothing with `-q`, bars on a terminal, else plain lines."""
        return SILENT if self.quiet else reporter(True)
