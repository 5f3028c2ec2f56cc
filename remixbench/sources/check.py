"""What of a source is there: the files its table names, and whether each is the recording it should be."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from remixbench.errors import InputError, RemixbenchError
from remixbench.progress import SILENT, Progress
from remixbench.sources.receipts import Receipt, read_receipt
from remixbench.sources.registry import Source
from remixbench.sources.selection import select

_NAMED = 3


@dataclass(frozen=True)
class Checked:
    """The outcome for one source: how many recordings were looked at, and what is wrong with which."""

    source: str
    looked_at: int
    failures: tuple[tuple[str, str], ...]

    def line(self) -> str:
        """Say it in one line, with the first names that fail."""
        sound = self.looked_at - len({name for name, _ in self.failures})
        text = f"{self.source}: {sound} of {self.looked_at} recordings are there and sound"
        if self.failures:
            first = "; ".join(f"{name}: {what}" for name, what in self.failures[:_NAMED])
            more = len(self.failures) - _NAMED
            text += f"; {first}" + (f"; and {more} more" if more > 0 else "")
        return text


def check_sources(
    *names: str,
    workspace: Path = Path("."),
    sources: Path | None = None,
    parts: str | None = None,
    progress: Progress = SILENT,
) -> list[Checked]:
    """Verify the recordings of the sources against their tables.

    Every file that a table names must exist, open, and have the source's rate, number of channels and a
    length in its range; and the size that it had when it was unpacked, where that is known.

    Parameters
    ----------
    names
        Sources; all where none is named.
    parts
        Look only at what these parts brought, such as "1-3"; for a source that was not downloaded whole.

    Raises
    ------
    InputError
        If a source or a part is unknown, or a table is missing or cannot be read.
    """
    folder = sources if sources is not None else workspace / "sources"
    items = select(names, parts=parts)
    checked = []
    for source in dict.fromkeys(item.source for item in items):
        receipts = {
            item.archive.file: read_receipt(folder, item.archive.file) for item in items if item.source is source
        }
        sizes = _sizes(source, list(receipts.values()))
        wanted = table_files(source, folder)
        if parts is not None and source.parts():
            unknown = [file for file, receipt in receipts.items() if receipt is None]
            if unknown:
                raise InputError(f"--parts {parts}: {unknown[0]} was not unpacked in {folder}; download it first")
            wanted = [name for name in wanted if name in sizes]
        checked.append(_check(source, folder, wanted, sizes, progress))
    return checked


def table_files(source: Source, sources: Path) -> list[str]:
    """Return the recordings that a source's table names, as paths relative to `sources`, in table order.

    Raises
    ------
    InputError
        If the table is missing or has not the column expected.
    """
    path = sources / source.table.path
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=source.table.delimiter)
            if source.table.column not in (rows.fieldnames or ()):
                raise InputError(f"{path}: no column '{source.table.column}'; found {rows.fieldnames}")
            return [f"{source.audio.folder}/{row[source.table.column]}" for row in rows]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `remixbench download {source.name}` first") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as the table of {source.name} ({error})") from None


def missing_files(source: Source, sources: Path) -> tuple[list[str], int]:
    """Return the recordings of the table that are not there, and how many the table names."""
    named = table_files(source, sources)
    return [name for name in named if not (sources / name).is_file()], len(named)


def _sizes(source: Source, receipts: list[Receipt | None]) -> dict[str, int]:
    """Return the sizes that files had when they were unpacked, by their path relative to the sources."""
    prefix = "" if source.unpacks_to == "." else f"{source.unpacks_to}/"
    return {prefix + name: size for receipt in receipts if receipt for name, size in receipt.members.items()}


def _check(source: Source, folder: Path, wanted: list[str], sizes: dict[str, int], progress: Progress) -> Checked:
    failures = []
    with progress.bar(f"checking {source.name}", len(wanted), "recordings") as advance:
        for name in wanted:
            trouble = _trouble(source, folder / name, sizes.get(name))
            if trouble is not None:
                failures.append((name, trouble))
            advance(1)
    return Checked(source.name, len(wanted), tuple(failures))


def _trouble(source: Source, path: Path, size: int | None) -> str | None:
    """Say what is wrong with a recording, None if nothing is."""
    import soundfile

    try:
        found = path.stat().st_size
        if size is not None and found != size:
            return f"{found} bytes, {size} when it was unpacked"
        info = soundfile.info(str(path))
    except FileNotFoundError:
        return "missing"
    except (OSError, RuntimeError) as error:
        return f"does not open ({str(error).rstrip('.')})"
    want = source.audio
    if info.samplerate != want.rate:
        return f"{info.samplerate} Hz, expected {want.rate} Hz"
    if info.channels != want.channels:
        return f"{info.channels} channels, expected {want.channels}"
    seconds = info.frames / info.samplerate
    if not want.shortest <= seconds <= want.longest:
        return f"{seconds:.3f} s long, expected {want.shortest:g} to {want.longest:g} s"
    return None


def demand_sound(checked: list[Checked]) -> None:
    """Raise a one-line `RemixbenchError` if any recording failed."""
    bad = [outcome for outcome in checked if outcome.failures]
    if bad:
        raise RemixbenchError(
            f"{sum(len(outcome.failures) for outcome in bad)} recordings are missing or not right "
            f"({', '.join(outcome.source for outcome in bad)}); run `remixbench download` again to "
            "mend them, or check only the parts that were downloaded with --parts"
        )
