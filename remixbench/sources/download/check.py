"""Checks of recordings against the tables of their sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import InputError, RemixbenchError, shortened
from remixbench.progress import Progress, reporter
from remixbench.sources.catalogue import checked_name
from remixbench.sources.download.archive import read_receipt
from remixbench.sources.download.select import select
from remixbench.sources.published import PublishedSource


@dataclass(frozen=True)
class SourceCheck:
    """The outcome for one source: the number of recordings checked, and failures as (recording, problem)."""

    source: str
    checked: int
    failures: tuple[tuple[str, str], ...]

    def summary(self) -> str:
        """Return the outcome in one line, with the first failures."""
        text = f"{self.source}: {self.checked - len(self.failures)} of {self.checked} recordings are valid"
        return "; ".join(filter(None, (text, shortened([f"{name}: {problem}" for name, problem in self.failures], 3))))


def check_sources(
    *names: str,
    workspace: str | Path = ".",
    sources: str | Path | None = None,
    parts: str | None = None,
    progress: Progress | bool = False,
) -> list[SourceCheck]:
    """Verify the recordings of the sources against their tables.

    Every file that a table names must be readable, with the sample rate, number of channels and range of durations of
    the source, and the size that it had when it was unpacked, if known.

    Parameters
    ----------
    names : sources; by default all
    parts : check only the recordings of these parts, such as "1-3", if only these were downloaded

    Raises
    ------
    InputError
        If a source or a part is unknown, or a table is missing or cannot be read.
    """
    progress = reporter(progress)
    folder = Path(workspace) / "sources" if sources is None else Path(sources)
    selected = select(names, parts=parts)
    checks = []
    for source in dict.fromkeys(remote.source for remote in selected):
        sizes: dict[str, int] = {}  # when they were unpacked
        for remote in (remote for remote in selected if remote.source is source):
            receipt = read_receipt(folder, remote.name)
            if receipt is not None:
                sizes |= {(Path(source.unpacks_to) / name).as_posix(): size for name, size in receipt.members.items()}
            elif parts is not None and source.parts and not remote.archive.optional:
                raise InputError(f"--parts {parts}: {remote.name} was not unpacked in {folder}; download it first")
        recordings = table_recordings(source, folder)
        if parts is not None and source.parts:
            recordings = [name for name in recordings if name in sizes]
        failures = []
        with progress.bar(f"checking {source.name}", len(recordings), "recordings") as advance:
            for name in recordings:
                if (problem := _problem(source, folder / name, sizes.get(name))) is not None:
                    failures.append((name, problem))
                advance(1)
        checks.append(SourceCheck(source.name, len(recordings), tuple(failures)))
    return checks


def table_recordings(source: PublishedSource, sources: Path) -> list[str]:
    """Return the recordings that a source's table names, as paths relative to `sources`, in table order."""
    table = source.read_table(sources)
    return [
        f"{source.root.as_posix()}/{checked_name(f'{table.path}, line {line}', row[source.file_column])}"
        for line, row in table.records()
    ]


def raise_if_invalid(checks: Sequence[SourceCheck]) -> None:
    """Raise a `RemixbenchError` if any recording failed."""
    bad = [check for check in checks if check.failures]
    if bad:
        raise RemixbenchError(
            f"{sum(len(check.failures) for check in bad)} recordings are missing or invalid "
            f"({', '.join(check.source for check in bad)}); run `remixbench download` again to "
            "restore them, or check only the parts that were downloaded with --parts"
        )


def _problem(source: PublishedSource, path: Path, size: int | None) -> str | None:
    import soundfile

    try:
        actual = path.stat().st_size
        if size is not None and actual != size:
            return f"{actual} bytes, {size} when it was unpacked"
        info = soundfile.info(str(path))
    except FileNotFoundError:
        return "missing"
    except (OSError, RuntimeError) as error:
        return f"does not open ({str(error).rstrip('.')})"
    if info.samplerate != source.sample_rate:
        return f"{info.samplerate} Hz, expected {source.sample_rate} Hz"
    if info.channels != source.channels:
        return f"{info.channels} channels, expected {source.channels}"
    seconds = info.frames / info.samplerate
    if not source.min_seconds <= seconds <= source.max_seconds:
        return f"{seconds:.3f} s long, expected {source.min_seconds:g} to {source.max_seconds:g} s"
    return None
