"""The reference labels of a data set in DCASE's form, and where its recordings come from.

All times are seconds. They are the same at every signal-to-noise ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remixbench.dataset.manifest import Clip, Manifest, number, to_csv
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue

DECIMALS = 6  # of seconds: below a sample, above the rounding of sums


def heard_seconds(longest: float, recording: float, onset: float, clip: float) -> float:
    """Return how long an event is heard: at most `longest`, its recording, and what is left of the clip."""
    return min(longest, recording, clip - onset)


def strong(recipe: Recipe, clips: Sequence[Clip], filenames: Sequence[str], durations: Mapping[str, float]) -> bytes:
    """Return strong.tsv: filename, onset, offset, event_label; one empty row for a clip without events.

    `durations` gives, for each event recording, the seconds that are usable from where its excerpt starts.
    """
    rows: list[tuple[str, ...]] = []
    for clip, name in zip(clips, filenames, strict=True):
        if not clip.events:
            rows.append((name, "", "", ""))
        for event in sorted(clip.events, key=lambda event: (event.onset, event.index)):
            left = durations[event.file] - (event.start or 0.0)
            heard = heard_seconds(event.max_duration, left, event.onset, recipe.mix.duration)
            offset = round(event.onset + heard, DECIMALS)
            rows.append((name, number(round(event.onset, DECIMALS)), number(offset), event.label))
    return to_csv(("filename", "onset", "offset", "event_label"), rows, "\t")


def weak(clips: Sequence[Clip], filenames: Sequence[str]) -> bytes:
    """Return weak.tsv: filename, event_labels; comma separated, sorted, unique."""
    rows = [
        (name, ",".join(sorted({event.label for event in clip.events})))
        for clip, name in zip(clips, filenames, strict=True)
    ]
    return _tsv(("filename", "event_labels"), rows)


def durations(recipe: Recipe, filenames: Sequence[str]) -> bytes:
    """Return durations.tsv: filename, duration."""
    seconds = number(recipe.mix.samples / recipe.mix.sample_rate)
    return _tsv(("filename", "duration"), [(name, seconds) for name in filenames])


def _tsv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Return tab-separated lines without quoting: labels are joined by commas, which nobody expects quoted."""
    return "".join("\t".join(row) + "\n" for row in (header, *rows)).encode("utf-8")


def attribution(manifest: Manifest, events: Catalogue) -> bytes:
    """Return ATTRIBUTION.csv: every event recording used, with its place of origin and licence, sorted by file."""
    used = set(manifest.event_files)
    table = events.table[events.table["file"].isin(used)].sort_values("file")
    rows = [(row.file, row.label, row.url or row.origin, row.licence) for row in table.itertuples(index=False)]
    return to_csv(("event_file", "event_label", "source_url", "licence"), rows)
