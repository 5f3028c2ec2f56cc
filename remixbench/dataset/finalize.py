"""The last step of `make`, once every clip is finished: labels, levels, digests and dataset.json.

Labels are in DCASE format. Times are in seconds and do not depend on the SNR.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from remixbench.dataset.dataset import Dataset, read_digests, snr_folder
from remixbench.dataset.info import FILES, DatasetInfo, write_info
from remixbench.dataset.manifest import Clip, ExcerptKey, Manifest, event_times, number
from remixbench.dataset.spec import DatasetSpec
from remixbench.dataset.work import Checkpoint, Record, StoredExcerpts, block_count
from remixbench.errors import InputError, shortened
from remixbench.files import sha256, write_bytes
from remixbench.progress import Progress
from remixbench.recipe import Recipe
from remixbench.sources.catalogue import Catalogue, plain_text
from remixbench.sources.licences import terms_of
from remixbench.tables import format_table, read_table

LIBRARIES = ("numpy", "scipy", "librosa", "soxr", "soundfile", "pyloudnorm", "joblib")
LEVEL_DECIMALS = 3
RECORDINGS, NOTICES = "recordings.csv", "NOTICE.txt"

Row = tuple[object, ...]
RecordingKey = tuple[str, str, float | None]
"""A decoded recording: "scene" or "event", file, and the start in seconds if only part of a scene was decoded."""


def finalize(
    spec: DatasetSpec, info: DatasetInfo | None, checkpoint: Checkpoint, snrs: Sequence[float], progress: Progress
) -> Dataset:
    """Write the files that exist once per data set, dataset.json last.

    Raises `InputError` if a recording changed while the data set was made, or a clip differs from an earlier `make`.

    Parameters
    ----------
    info : previous content of dataset.json, None for a new data set
    checkpoint : the finished work at `snrs`
    """
    target, clips = spec.target, spec.manifest.clips
    folder, staged = target.folder, checkpoint.final
    (folder / "labels").mkdir(exist_ok=True)
    records = {snr: checkpoint.records(snr, block_count(len(clips))) for snr in snrs}
    excerpts = StoredExcerpts(checkpoint.folder / "excerpts", spec.manifest.excerpts)
    recordings = _recordings(spec, excerpts, records)
    _check_unchanged(folder, info, records)
    available = {key: excerpts.facts(key).available for key in spec.manifest.excerpts}
    write_bytes(staged / "labels" / "strong.tsv", strong_labels(target.recipe, clips, spec.filenames, available))
    write_bytes(staged / RECORDINGS, _recordings_table(recordings))
    write_bytes(staged / "labels" / "weak.tsv", weak_labels(clips, spec.filenames))
    write_bytes(staged / "labels" / "durations.tsv", durations_table(target.recipe, spec.filenames))
    write_bytes(staged / "ATTRIBUTION.csv", attribution(spec.manifest, spec.scenes, spec.events))
    notices = "\n".join(dict.fromkeys(filter(None, (spec.scenes.notice, spec.events.notice))))
    if notices:
        write_bytes(staged / NOTICES, notices.encode("utf-8"))
    merge = partial(_merge, spec, staged, () if info is None else info.snrs)
    merge("labels/levels.csv", LEVEL_COLUMNS, _levels(spec, records))
    digests = {"digests.csv": "pcm"}
    digests |= {"stems_digests.csv": "stems"} if target.stems else {}
    digests |= {"logmel_digests.csv": "logmel"} if target.features else {}
    for name, key in digests.items():
        merge(name, ("clip_id", "snr", "sha256"), _digests(records, key))
    for snr in snrs if target.features else ():
        checkpoint.join_logmel(snr, spec.logmel_shape, folder / snr_folder(snr) / "logmel.npy")
    write_info(staged, _info(spec, info, snrs, staged))
    checkpoint.publish()
    checkpoint.close(snrs)
    for line in silent_lines(records, clips):
        progress.say(line)
    return Dataset.open(folder)


def read_recordings(folder: Path, info: DatasetInfo | None) -> dict[RecordingKey, str]:
    """Return the digests of the recordings that a data set was made from; {} if the table is missing or altered."""
    path = folder / RECORDINGS
    if info is None or not path.is_file() or sha256(path.read_bytes()) != info.files.get(RECORDINGS):
        return {}
    return {
        (row["kind"], row["file"], float(row["start"]) if row.get("start") else None): row["sha256"]
        for _, row in read_table(path).records()
    }


def _recordings_table(recordings: Mapping[RecordingKey, str]) -> bytes:
    """Format recordings.csv: kind, file, sha256; with `start` if a scene was decoded in part."""
    keys = sorted(recordings, key=lambda key: (key[0], key[1], -1.0 if key[2] is None else key[2]))
    rows = [(*key[:2], "" if key[2] is None else number(key[2]), recordings[key]) for key in keys]
    if all(start is None for _, _, start in keys):
        return format_table(("kind", "file", "sha256"), [(kind, file, digest) for kind, file, _, digest in rows])
    return format_table(("kind", "file", "start", "sha256"), rows)


def _recordings(
    spec: DatasetSpec, excerpts: StoredExcerpts, records: dict[float, list[Record]]
) -> dict[RecordingKey, str]:
    scene_of = {clip.id: clip.scene_file for clip in spec.manifest.clips}
    decoded: list[tuple[RecordingKey, str]] = [
        (("scene", scene_of[record["clip_id"]], record["scene_start"]), record["scene"])
        for records_at in records.values()
        for record in records_at
    ]
    decoded += [(("event", key[0], None), excerpts.facts(key).digest) for key in spec.manifest.excerpts]
    digests: dict[RecordingKey, str] = {}
    for key, digest in decoded:
        if digests.setdefault(key, digest) != digest:
            raise InputError(
                f"{key[1]}: the {key[0]} recording changed while the data set was made; restore it, delete"
                f" {spec.target.folder / '.work'} and make the data set again"
            )
    return digests


def _check_unchanged(folder: Path, info: DatasetInfo | None, records: dict[float, list[Record]]) -> None:
    """Refuse clips whose samples differ from those of an earlier `make`."""
    path = folder / "digests.csv"
    if info is None or not path.is_file() or sha256(path.read_bytes()) != info.files.get("digests.csv"):
        return
    earlier = read_digests(path)
    for snr, of_snr in records.items():
        for record in of_snr:
            if earlier.get(snr, {}).get(record["clip_id"], record["pcm"]) != record["pcm"]:
                raise InputError(
                    f"{folder}: clip {record['clip_id']} at {snr:g} dB has other samples than when the data set was"
                    " made (other sources or library versions); make another data set with --out"
                )


LEVEL_COLUMNS = ("clip_id", "snr", "event_index", "event_label", "target_db", "achieved_db", "target_is_on")


def _levels(spec: DatasetSpec, records: dict[float, list[Record]]) -> Iterable[Row]:
    """Yield the rows of levels.csv: the target SNR of each event and the SNR measured in the stems, in dB."""
    mix = spec.target.recipe.mix
    definition = f"{mix.level} of {mix.snr_reference}"
    clips = {clip.id: clip for clip in spec.manifest.clips}
    for snr, of_snr in records.items():
        for record in of_snr:
            for event, achieved in zip(clips[record["clip_id"]].events, record["achieved"], strict=True):
                measured = "" if achieved is None else number(round(achieved, LEVEL_DECIMALS))
                target = number(round(snr + event.snr_offset, 6))
                yield record["clip_id"], f"{snr:.12g}", str(event.index), event.label, target, measured, definition


def silent_lines(records: Mapping[float, Sequence[Record]], clips: Sequence[Clip]) -> Iterator[str]:
    """Yield a line for each SNR at which events have no measured SNR, as they or the scene are silent."""
    files = {clip.id: [event.file for event in clip.events] for clip in clips}
    for snr, of_snr in records.items():
        silent = [
            f"{file} in clip {record['clip_id']}"
            for record in of_snr
            for file, achieved in zip(files[record["clip_id"]], record["achieved"], strict=True)
            if achieved is None
        ]
        if silent:
            yield (
                f"{len(silent)} of {sum(len(record['achieved']) for record in of_snr)} events have no measured SNR at"
                f" {snr:g} dB because they or the scene under them are silent: {shortened(silent)}"
            )


def _digests(records: dict[float, list[Record]], key: str) -> Iterable[Row]:
    for snr, of_snr in records.items():
        yield from ((record["clip_id"], f"{snr:.12g}", record[key]) for record in of_snr)


def _merge(
    spec: DatasetSpec,
    staged: Path,
    earlier_snrs: Sequence[float],
    name: str,
    header: Sequence[str],
    rows: Iterable[Row],
) -> None:
    """Write a table with rows per clip and SNR, keeping the rows of earlier clips at `earlier_snrs`."""
    path = spec.target.folder / name
    position = {clip.id: row for row, clip in enumerate(spec.manifest.clips)}
    new_rows: dict[tuple[float, str], list[Row]] = {}
    for row in rows:
        new_rows.setdefault((float(str(row[1])), str(row[0])), []).append(row)
    old_rows: dict[tuple[float, str], list[Row]] = {}
    if path.exists():
        for clip, snr, *fields in read_table(path).rows:
            key = (float(snr), clip)
            if key[0] in earlier_snrs and key not in new_rows and key[1] in position:
                old_rows.setdefault(key, []).append((clip, snr, *fields))
    merged = old_rows | new_rows
    order = sorted(merged, key=lambda key: (key[0], position[key[1]]))
    write_bytes(staged / name, format_table(header, [row for key in order for row in merged[key]]))


def _info(spec: DatasetSpec, previous: DatasetInfo | None, snrs: Sequence[float], staged: Path) -> DatasetInfo:
    target = spec.target
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    versions = {
        "remixbench": version("remixbench"),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }
    added = {
        snr_folder(snr): versions
        for snr in snrs
        if previous and snr not in previous.snrs and versions != previous.versions
    }
    features = set(snrs if target.features else ()) | set(previous.features if previous else ())
    stems = set(snrs if target.stems else ()) | set(previous.stems if previous else ())
    absent = {NOTICES: not (staged / NOTICES).exists() and not (previous and NOTICES in previous.files)}
    absent |= {"logmel_digests.csv": not features, "stems_digests.csv": not stems}
    newest = {name: staged / name if (staged / name).exists() else target.folder / name for name in FILES}
    files = {name: sha256(path.read_bytes()) for name, path in newest.items() if not absent.get(name, False)}
    return DatasetInfo(
        name=target.folder.name,
        created=previous.created if previous else now,
        made=now,
        comparable=not spec.not_comparable,
        not_comparable=spec.not_comparable,
        snrs=tuple(sorted({*snrs, *(previous.snrs if previous else ())})),
        features=tuple(sorted(features)),
        stems=tuple(sorted(stems)),
        stem_kind=target.stems or (previous.stem_kind if previous else "sum"),
        audio_format=target.audio_format,
        clips=len(spec.manifest.clips),
        folds=spec.manifest.folds,
        classes=spec.events.labels,
        manifest_digest=spec.manifest.digest,
        source_digests=spec.source_digests,
        files=files,
        versions=previous.versions if previous else versions,
        versions_added=(previous.versions_added if previous else {}) | added,
        recipe=target.recipe,
    )


ATTRIBUTION_COLUMNS = ("kind", "file", "label", "source_url", "licence", "terms")


def strong_labels(
    recipe: Recipe, clips: Sequence[Clip], filenames: Sequence[str], available: Mapping[ExcerptKey, float]
) -> bytes:
    """Format strong.tsv: filename, onset, offset, event_label; one empty row for a clip without events.

    `available` has the seconds from the start of each excerpt to the end of its recording.
    """
    rows: list[tuple[str, ...]] = []
    for clip, name in zip(clips, filenames, strict=True):
        if not clip.events:
            rows.append((name, "", "", ""))
        for event in sorted(clip.events, key=lambda event: (event.onset, event.index)):
            onset, offset = event_times(event, available[event.file, event.start], recipe.mix.seconds)
            rows.append((name, number(onset), number(offset), event.label))
    return format_table(("filename", "onset", "offset", "event_label"), rows, "\t")


def weak_labels(clips: Sequence[Clip], filenames: Sequence[str]) -> bytes:
    """Format weak.tsv: filename, event_labels (comma separated, sorted, unique)."""
    rows = [
        (name, ",".join(sorted({event.label for event in clip.events})))
        for clip, name in zip(clips, filenames, strict=True)
    ]
    return format_table(("filename", "event_labels"), rows, "\t")


def durations_table(recipe: Recipe, filenames: Sequence[str]) -> bytes:
    """Format durations.tsv: filename, duration."""
    seconds = number(recipe.mix.seconds)
    return format_table(("filename", "duration"), [(name, seconds) for name in filenames], "\t")


def attribution(manifest: Manifest, scenes: Catalogue, events: Catalogue) -> bytes:
    """Format ATTRIBUTION.csv: every recording used, with its origin, licence, and the terms that the licence implies.

    Events come first, then scenes, each sorted by file. Texts that come from tables have an apostrophe before a sign
    that a spreadsheet would take for the beginning of a formula.
    """
    rows: list[tuple[str, ...]] = []
    for kind, catalogue, used_files in (
        ("event", events, set(manifest.event_files)),
        ("scene", scenes, {clip.scene_file for clip in manifest.clips}),
    ):
        table = catalogue.table[catalogue.table["file"].isin(used_files)].sort_values("file")
        origin = table["origin"] if kind == "event" else [catalogue.source] * len(table)
        columns = (table["file"], table["label"], table["url"], origin, table["licence"])
        for file, label, url, source, licence in zip(*columns, strict=True):
            rows.append((kind, file, label, plain_text(url or source), plain_text(licence), str(terms_of(licence))))
    return format_table(ATTRIBUTION_COLUMNS, rows)
