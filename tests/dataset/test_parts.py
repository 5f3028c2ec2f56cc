"""make with some parts of the scenes: it says which clips it can make, and makes them when asked for a number."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny

from remixbench.dataset.make import make
from remixbench.errors import InputError
from remixbench.recipe import Recipe
from remixbench.sources.download.archive import Receipt, downloaded_parts, write_receipt

ARCHIVE = "TAU-urban-acoustic-scenes-2019-development.audio.{}.zip"


@pytest.fixture
def partial(corpus: Path, tmp_path: Path) -> Path:
    """The tiny corpus as `download --parts 2-3` would leave it: some scenes, and receipts of two archives."""
    sources = tmp_path / "sources"
    shutil.copytree(corpus, sources)
    for path in sorted((sources / tiny.TAU / "audio").glob("*.wav"))[::3]:
        path.unlink()
    for part in (3, 2):
        write_receipt(sources, ARCHIVE.format(part), Receipt("0" * 32, "0" * 32, False, {}))
    return sources


def test_without_clips_per_fold_the_error_counts_possible_clips(
    partial: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"only part 2, 3 of the scenes was fetched, enough for \d+ of 24 clips \(\d+ in"
    ):
        make(recipe=tiny_recipe, sources=partial, out=tmp_path / "d", jobs=1)


def test_with_clips_per_fold_clips_with_downloaded_scenes_are_made(
    partial: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    dataset = make(recipe=tiny_recipe, sources=partial, out=tmp_path / "d", clips_per_fold=2, jobs=1)
    assert dataset is not None
    there = {path.name for path in (partial / tiny.TAU / "audio").iterdir()}
    assert {clip.scene_file for clip in dataset.clips} <= there
    assert "only clips with scenes of part 2, 3" in dataset.not_comparable
    with pytest.raises(InputError, match=r"--clips-per-fold 1000: fold \d of the manifest has"):
        make(recipe=tiny_recipe, sources=partial, out=tmp_path / "e", clips_per_fold=1000, jobs=1)


def test_all_or_no_archives_do_not_count_as_parts(corpus: Path, tmp_path: Path) -> None:
    assert downloaded_parts("tau2019", corpus) is None
    for part in range(1, 22):
        write_receipt(tmp_path, ARCHIVE.format(part), Receipt("0" * 32, "0" * 32, False, {}))
    assert downloaded_parts("tau2019", tmp_path) is None
