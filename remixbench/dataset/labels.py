"""The reference labels of a data set in DCASE's form, and where its recordings come from.

All times are seconds. They are the same at every signal-to-noise ratio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from remixbench.dataset.manifest import Clip, Event, ExcerptKey, Manifest, number
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue
from remixbench.sources.licences import terms_of
from remixbench.tables import format_table

ATTRIBUTION_COLUMNS = ("kind", "file", "label", "source_url", "licence", "terms")
DECIMALS = 6  # of seconds: below a sample, above the rounding of sums


def event_seconds(event: Event, available: float, clip_seconds: float) -> float:
    """Return how long an event lasts: at most its `max_duration`, what its recording has, and what is left of the clip.

    `available` is the length of its recording from where the excerpt starts, in seconds.
    """
    return min(event.max_duration, available, clip_seconds - event.onset)


def event_times(event: Event, available: float, clip_seconds: float) -> tuple[float, float]:
    """Return onset and offset of an event, rounded as the labels have them; arguments as of `event_seconds`."""
    offset = event.onset + event_seconds(event, available, clip_seconds)
    end = math.floor(clip_seconds * 10**DECIMALS) / 10**DECIMALS  # rounding must not lead beyond the clip
    return round(event.onset, DECIMALS), min(round(offset, DECIMALS), end)


def strong(
    recipe: Recipe, clips: Sequence[Clip], filenames: Sequence[str], available: Mapping[ExcerptKey, float]
) -> bytes:
    """Return strong.tsv: filename, onset, offset, event_label; one empty row for a clip without events.

    `available` gives, for each excerpt (recording, fixed start), the seconds from its start to the recording's end.
    """
    rows: list[tuple[str, ...]] = []
    for clip, name in zip(clips, filenames, strict=True):
        if not clip.events:
            rows.append((name, "", "", ""))
        for event in sorted(clip.events, key=lambda event: (event.onset, event.index)):
            onset, offset = event_times(event, available[event.file, event.start], recipe.mix.seconds)
            rows.append((name, number(onset), number(offset), event.label))
    return format_table(("filename", "onset", "offset", "event_label"), rows, "\t")


def weak(clips: Sequence[Clip], filenames: Sequence[str]) -> bytes:
    """Return weak.tsv: filename, event_labels; comma separated, sorted, unique."""
    rows = [
        (name, ",".join(sorted({event.label for event in clip.events})))
        for clip, name in zip(clips, filenames, strict=True)
    ]
    return format_table(("filename", "event_labels"), rows, "\t")


def durations(recipe: Recipe, filenames: Sequence[str]) -> bytes:
    """Return durations.tsv: filename, duration."""
    seconds = number(recipe.mix.seconds)
    return format_table(("filename", "duration"), [(name, seconds) for name in filenames], "\t")


def attribution(manifest: Manifest, scenes: Catalogue, events: Catalogue) -> bytes:
    """Return ATTRIBUTION.csv: every recording used, with where it comes from, its licence, and what that asks of clips.

    Events first, then scenes, each sorted by file.
    """
    rows: list[tuple[str, ...]] = []
    for kind, catalogue, used in (
        ("event", events, set(manifest.event_files)),
        ("scene", scenes, {clip.scene_file for clip in manifest.clips}),
    ):
        table = catalogue.table[catalogue.table["file"].isin(used)].sort_values("file")
        origin = table["origin"] if kind == "event" else [catalogue.source] * len(table)
        columns = (table["file"], table["label"], table["url"], origin, table["licence"])
        for file, label, url, source, licence in zip(*columns, strict=True):
            rows.append((kind, file, label, url or source, licence, str(terms_of(licence))))
    return format_table(ATTRIBUTION_COLUMNS, rows)
