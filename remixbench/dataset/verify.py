"""`verify`: every file of a data set against its manifest and digests; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.dataset import (
    REMEDY,
    Dataset,
    altered_files,
    find_folder,
    logmel_digest,
    pcm_digest,
    read_digests,
    snr_folder,
)
from remixbench.dataset.embeddings import FOLDER, altered_embeddings
from remixbench.dataset.info import read_info
from remixbench.dataset.manifest import Clip, read_manifest
from remixbench.dataset.mix import mixture
from remixbench.dataset.render import Renderer
from remixbench.errors import InputError
from remixbench.files import is_system_file
from remixbench.progress import Progress, reporter
from remixbench.sources import load_catalogues

LOGMEL_TOLERANCE = 1e-4  # between machines: the order of a library's float32 sums


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
    One line for each difference; none where the data set is as it was made.

    Raises
    ------
    InputError
        If there is no such data set, or for `deep`, its sources are not there.
    """
    progress = reporter(progress)
    import joblib

    if deep < 0:
        raise InputError(f"--deep {deep}: expected a number of clips, 0 or more")
    folder = dataset.path if isinstance(dataset, Dataset) else find_folder(Path(workspace), dataset)
    try:
        there = _open(folder)
    except InputError as error:
        if not (folder / "dataset.json").exists():
            raise
        return [str(error)]  # manifest or dataset.json were altered: there is nothing to compare the rest with
    differences = [*_small_files(there), *_stray_files(there)]
    digests = {snr: _digests(there, "digests.csv", snr) for snr in there.snrs}
    stems = {snr: _digests(there, "stems_digests.csv", snr) for snr in there.info.stems}
    tasks = [(snr, clip) for snr in there.snrs for clip in there.clips]
    with progress.bar("Checking", len(tasks), "clips") as advance:
        check = joblib.delayed(_audio)
        found = joblib.Parallel(n_jobs=jobs, backend="threading", return_as="generator")(
            check(there, clip, snr, _expected(digests[snr], clip), _expected(stems.get(snr), clip))
            for snr, clip in tasks
        )
        for lines in found:
            differences += lines
            advance(1)
    for snr in there.info.features:
        differences += _features(there, float(snr))
    for snr in there.snrs:
        differences += altered_embeddings(there, float(snr))
    if deep:
        root = Path(workspace) / "sources" if sources is None else Path(sources)
        differences += _rendered_again(there, root, deep, digests, progress)
    return differences


def _open(folder: Path) -> Dataset:
    """Open a data set whose small files may be altered."""
    info, manifest = read_info(folder), read_manifest(folder / "manifest")
    if manifest.digest != info.manifest_digest:
        raise InputError(f"{folder / 'manifest'}: is not the manifest that the data set was made from; {REMEDY}")
    return Dataset(folder, info, manifest)


def _small_files(there: Dataset) -> Iterator[str]:
    """Labels and tables of digests against dataset.json; the manifest was read and checked already."""
    sums = there.path / "manifest" / "SHA256SUMS"
    if not sums.is_file():
        yield f"{sums}: missing"
    for name, problem in altered_files(there.path, there.info):
        yield f"{there.path / name}: {problem}"


def _stray_files(there: Dataset) -> Iterator[str]:
    """Files that no data set has; missing audio is named elsewhere."""
    expected = {"dataset.json", *there.info.files, "manifest/SHA256SUMS"}
    expected |= {f"manifest/{name}" for name in there.manifest.files()}
    for snr in there.snrs:
        place = snr_folder(snr)
        expected |= {f"{place}/audio/{name}" for name in there.filenames}
        if snr in there.info.stems:
            expected |= {f"{place}/stems/{name}" for name in there.filenames}
        if snr in there.info.features:
            expected.add(f"{place}/logmel.npy")
    embeddings = {there.path / snr_folder(snr) / FOLDER for snr in there.snrs}  # altered_embeddings checks them
    for path in sorted(there.path.rglob("*")):
        if not embeddings.isdisjoint(path.parents):
            continue
        if path.is_file() and not is_system_file(path) and path.relative_to(there.path).as_posix() not in expected:
            yield f"{path}: not a file of this data set"


def _digests(there: Dataset, name: str, snr: float) -> dict[str, str] | None:
    """Return the digest of each clip at one SNR; {} where the table is not readable, None where it was lost.

    Both are reported elsewhere.
    """
    path = there.path / name
    return read_digests(path).get(snr, {}) if path.exists() else None


def _expected(digests: Mapping[str, str] | None, clip: Clip) -> str | None:
    """Return the digest that a clip must have; None where there is no table to compare with."""
    return None if digests is None else digests.get(clip.id, "missing")


def _audio(there: Dataset, clip: Clip, snr: float, digest: str | None, stems_digest: str | None) -> list[str]:
    """Check the mixture of one clip, and its stems where there are some."""
    recipe = there.recipe
    lines = []
    path = there.audio_path(clip, snr)
    mono = _read(path, recipe.mix.sample_rate, recipe.mix.samples, 1)
    if isinstance(mono, str):
        lines.append(mono)
    elif digest is not None and pcm_digest(mono) != digest:
        lines.append(f"{path}: its samples differ from digests.csv")
    if snr in there.info.stems:
        path = there.stems_path(clip, snr)
        channels = 2 if there.info.stem_kind == "sum" else len(clip.events) + 1
        stems = _read(path, recipe.mix.sample_rate, recipe.mix.samples, channels)
        if isinstance(stems, str):
            lines.append(stems)
        elif stems_digest is not None and pcm_digest(stems) != stems_digest:
            lines.append(f"{path}: its samples differ from stems_digests.csv")
    return lines


def _read(path: Path, rate: int, samples: int, channels: int) -> NDArray[np.int16] | str:
    """Return the samples of a file of ours, or what is wrong with it."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            found = (file.samplerate, file.channels, file.subtype, file.frames)
            data: NDArray[np.int16] = file.read(dtype="int16")
    except soundfile.LibsndfileError as error:
        return f"{path}: {'not readable (' + error.error_string + ')' if path.exists() else 'missing'}"
    expected = (rate, channels, "PCM_16", samples)
    if found != expected or len(data) != samples:
        return f"{path}: has rate, channels, type and length {found}, expected {expected}"
    return data


def _features(there: Dataset, snr: float) -> Iterator[str]:
    path = there.path / snr_folder(snr) / "logmel.npy"
    try:
        rows = there.features(snr)
    except InputError as error:
        yield str(error)
        return
    digests = _digests(there, "logmel_digests.csv", snr)
    for clip, row in zip(there.clips, rows, strict=True) if digests is not None else ():
        if logmel_digest(row) != _expected(digests, clip):
            yield f"{path}: the log-mel of clip {clip.id} differs from logmel_digests.csv"


def _rendered_again(
    there: Dataset, sources: Path, count: int, digests: dict[float, dict[str, str] | None], progress: Progress
) -> Iterator[str]:
    """Render clips spread evenly over the data set from their sources, and compare."""
    renderer = Renderer.of(there.recipe, *load_catalogues(there.recipe, sources))
    rows = np.unique(np.linspace(0, len(there.clips) - 1, min(count, len(there.clips))).astype(int))
    with progress.bar("Rendering", len(rows), "clips") as advance:
        for row in rows:
            yield from _one_again(there, int(row), renderer, digests)
            advance(1)


def _one_again(
    there: Dataset, row: int, renderer: Renderer, digests: dict[float, dict[str, str] | None]
) -> Iterator[str]:
    clip = there.clips[row]
    try:
        parts = renderer.clip(clip)
    except InputError as error:
        yield f"clip {clip.id} cannot be rendered again: {error}"
        return
    for snr in there.snrs:
        rendered = parts.at(snr)
        if _expected(digests[snr], clip) not in (None, pcm_digest(mixture(rendered.stems))):
            yield f"{there.audio_path(clip, snr)}: rendered again from its sources it has other samples"
        if snr in there.info.features:
            worst = float(np.abs(rendered.logmel() - there.features(snr)[row]).max())
            if not worst <= LOGMEL_TOLERANCE:
                path = there.path / snr_folder(snr) / "logmel.npy"
                yield f"{path}: clip {clip.id} computed again differs by {worst:.2g}"
