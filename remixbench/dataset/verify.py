"""`verify`: check every file of a data set against its manifest and digests, without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import (
    Dataset,
    altered_files,
    find_folder,
    logmel_digest,
    pcm_digest,
    read_digests,
    snr_folder,
)
from remixbench.dataset.embeddings import FOLDER, altered_embeddings
from remixbench.dataset.manifest import Clip
from remixbench.dataset.mix import mixture
from remixbench.dataset.render import Renderer
from remixbench.errors import InputError
from remixbench.files import as_path, is_system_file
from remixbench.parallel import Workers
from remixbench.progress import Progress, reporter
from remixbench.sources import load_catalogues

LOGMEL_TOLERANCE = 1e-4  # machines differ in the order of float32 sums


def verify(
    *,
    workspace: str | Path = ".",
    dataset: str | Path | Dataset | None = None,
    deep: int = 0,
    sources: str | Path | None = None,
    jobs: int = -1,
    progress: Progress | bool = False,
) -> list[str]:
    """Check every file of a data set; with `deep`, also render that many clips again and compare.

    Returns
    -------
    One line per difference; empty if the data set is intact.

    Raises
    ------
    InputError
        If there is no such data set, or `deep` is given and its sources are missing.
    """
    progress = reporter(progress)
    if deep < 0:
        raise InputError(f"--deep {deep}: expected a number of clips, 0 or more")
    folder = dataset.path if isinstance(dataset, Dataset) else find_folder(as_path(workspace, "workspace"), dataset)
    try:
        data = Dataset.open(folder, check_files=False)
    except InputError as error:
        if not (folder / "dataset.json").exists():
            raise
        return [str(error)]  # without an intact manifest and dataset.json nothing else can be checked
    differences = [*_small_files(data), *_stray_files(data)]
    digests = {snr: _digests(data, "digests.csv", snr) for snr in data.snrs}
    stems = {snr: _digests(data, "stems_digests.csv", snr) for snr in data.info.stems}
    tasks = [(snr, clip) for snr in data.snrs for clip in data.clips]
    with progress.bar("Checking", len(tasks), "clips") as advance:
        checks = (
            (data, clip, snr, _expected(digests[snr], clip), _expected(stems.get(snr), clip)) for snr, clip in tasks
        )
        for lines in Workers(jobs, "threading").run(_audio, checks, len(tasks)):
            differences += lines
            advance(1)
    for snr in data.info.features:
        differences += _features(data, float(snr))
    for snr in data.snrs:
        differences += altered_embeddings(data, float(snr))
    if deep:
        root = as_path(workspace, "workspace") / "sources" if sources is None else Path(sources)
        differences += _rendered_again(data, root, deep, digests, progress)
    return differences


def _small_files(dataset: Dataset) -> Iterator[str]:
    """Check labels and digest tables against dataset.json; the manifest was checked when it was read."""
    sums = dataset.path / "manifest" / "SHA256SUMS"
    if not sums.is_file():
        yield f"{sums}: missing"
    for name, problem in altered_files(dataset.path, dataset.info):
        yield f"{dataset.path / name}: {problem}"


def _stray_files(dataset: Dataset) -> Iterator[str]:
    """Report files that do not belong to the data set; missing audio is reported elsewhere."""
    expected = {"dataset.json", *dataset.info.files, "manifest/SHA256SUMS"}
    expected |= {f"manifest/{name}" for name in dataset.manifest.files()}
    for snr in dataset.snrs:
        folder = snr_folder(snr)
        expected |= {f"{folder}/audio/{name}" for name in dataset.filenames}
        if snr in dataset.info.stems:
            expected |= {f"{folder}/stems/{name}" for name in dataset.filenames}
        if snr in dataset.info.features:
            expected.add(f"{folder}/logmel.npy")
    elsewhere = {dataset.path / snr_folder(snr) / FOLDER for snr in dataset.snrs}  # altered_embeddings checks them
    work = dataset.path / ".work"
    if work.is_dir():
        yield f"{work}: unfinished work; run the `remixbench make` that was interrupted, or delete it"
        finished = {snr_folder(snr) for snr in dataset.snrs}
        elsewhere |= {work, *(path for path in dataset.path.glob("snr_*") if path.name not in finished)}
    for path in sorted(dataset.path.rglob("*")):
        if not elsewhere.isdisjoint(path.parents):
            continue
        if path.is_file() and not is_system_file(path) and path.relative_to(dataset.path).as_posix() not in expected:
            yield f"{path}: not a file of this data set"


def _digests(dataset: Dataset, name: str, snr: float) -> dict[str, str] | None:
    """Return the digest of each clip at one SNR; {} if the table is not readable, None if it is missing."""
    path = dataset.path / name
    return read_digests(path).get(snr, {}) if path.exists() else None


def _expected(digests: Mapping[str, str] | None, clip: Clip) -> str | None:
    """Return the digest that a clip must have, None if there is no table."""
    return None if digests is None else digests.get(clip.id, "missing")


def _audio(dataset: Dataset, clip: Clip, snr: float, digest: str | None, stems_digest: str | None) -> list[str]:
    recipe = dataset.recipe
    lines = []
    path = dataset.audio_path(clip, snr)
    mono = _read(path, recipe.mix.sample_rate, recipe.mix.samples, 1)
    if isinstance(mono, str):
        lines.append(mono)
    elif digest is not None and pcm_digest(mono) != digest:
        lines.append(f"{path}: its samples differ from digests.csv")
    if snr in dataset.info.stems:
        path = dataset.stems_path(clip, snr)
        channels = 2 if dataset.info.stem_kind == "sum" else len(clip.events) + 1
        stems = _read(path, recipe.mix.sample_rate, recipe.mix.samples, channels)
        if isinstance(stems, str):
            lines.append(stems)
        elif stems_digest is not None and pcm_digest(stems) != stems_digest:
            lines.append(f"{path}: its samples differ from stems_digests.csv")
    return lines


def _read(path: Path, rate: int, samples: int, channels: int) -> NDArray[np.int16] | str:
    """Return the samples of an audio file of the data set, or the problem with it."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            actual = (file.samplerate, file.channels, file.subtype, file.frames)
            data: NDArray[np.int16] = file.read(dtype="int16")
    except soundfile.LibsndfileError as error:
        return f"{path}: {'not readable (' + error.error_string + ')' if path.exists() else 'missing'}"
    expected = (rate, channels, "PCM_16", samples)
    if actual != expected or len(data) != samples:
        return f"{path}: has rate, channels, type and length {actual}, expected {expected}"
    return data


def _features(dataset: Dataset, snr: float) -> Iterator[str]:
    path = dataset.path / snr_folder(snr) / "logmel.npy"
    try:
        rows = dataset.features(snr)
    except InputError as error:
        yield str(error)
        return
    digests = _digests(dataset, "logmel_digests.csv", snr)
    for clip, row in zip(dataset.clips, rows, strict=True) if digests is not None else ():
        if logmel_digest(row) != _expected(digests, clip):
            yield f"{path}: the log-mel of clip {clip.id} differs from logmel_digests.csv"


def _rendered_again(
    dataset: Dataset, sources: Path, count: int, digests: dict[float, dict[str, str] | None], progress: Progress
) -> Iterator[str]:
    """Render clips, spread evenly over the data set, again from their sources and compare."""
    renderer = Renderer.of(dataset.recipe, *load_catalogues(dataset.recipe, sources))
    rows = np.unique(np.linspace(0, len(dataset.clips) - 1, min(count, len(dataset.clips))).astype(int))
    with progress.bar("Rendering", len(rows), "clips") as advance:
        for row in rows:
            yield from _clip_again(dataset, int(row), renderer, digests)
            advance(1)


def _clip_again(
    dataset: Dataset, row: int, renderer: Renderer, digests: dict[float, dict[str, str] | None]
) -> Iterator[str]:
    clip = dataset.clips[row]
    try:
        parts = renderer.clip(clip)
    except InputError as error:
        yield f"clip {clip.id} cannot be rendered again: {error}"
        return
    for snr in dataset.snrs:
        rendered = parts.at(snr)
        if _expected(digests[snr], clip) not in (None, pcm_digest(mixture(rendered.stems))):
            yield f"{dataset.audio_path(clip, snr)}: rendered again from its sources it has other samples"
        if snr in dataset.info.features:
            worst = float(np.abs(rendered.logmel() - dataset.features(snr)[row]).max())
            if not worst <= LOGMEL_TOLERANCE:
                path = dataset.path / snr_folder(snr) / "logmel.npy"
                yield f"{path}: clip {clip.id} computed again differs by {worst:.2g}"
