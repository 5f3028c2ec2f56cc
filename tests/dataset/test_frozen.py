"""What may never change: manifests, labels, samples and log-mel of the built-in recipes, six clips of each fold.

The digests were recorded with release 0.1.0's first code. Log-mel is compared by its statistics, since the order of a
library's float32 sums differs between machines.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make

LABELS = ("labels/strong.tsv", "labels/weak.tsv", "labels/durations.tsv", "labels/levels.csv")
MANIFEST = ("manifest/clips.csv", "manifest/events.csv", "manifest/roles.csv")
# recipe: SHA-256 of the manifest, the labels and the samples; mean and deviation of the log-mel at 0, 10 and 20 dB
FROZEN = {
    "mini": (
        "42bfb3d1d3cd23dc6924df5939a36734cacd0171a7eaafe12ad6854005102857",
        "941c9e38f98b0c5074308ed9d8bc7152b4c286148974c86530f5768c8b99774c",
        "2df95ebce64b456318dc24f2ee0997f1bae5cb3188fbd7964e633ae731f0fdb6",
        [(-5.603656, 1.271293), (-6.451335, 1.335986), (-7.159885, 1.542898)],
    ),
    "remix2019": (
        "0263362d457630147cdb34dc80ff5bd8a722ff7a28ed070e55462ee126f74d50",
        "46a8557a97d0958549a49e5400b2139b50808e79c14ecb2a2de2802611c3cfe1",
        "c8d70a6f04f6044bd23600861a3f0b559bc6461b8f1b8cc6ac940e996ae4514a",
        [(-7.401049, 2.080882), (-8.318386, 2.096366), (-9.272312, 2.128899)],
    ),
    "remix2019-strict": (
        "ca8a323372090c858018e08344c84f5098bc9d3a81a9fe69d34222beefea7e63",
        "123b75f16b997c7259dbf4b60db4b6e549c32589d1730b5ed10e97378e78d365",
        "69496bbeb35566ea99d1c347a6bf40f4568ec32cd2e334bffb2aeb6cd514261a",
        [(-7.384255, 2.103998), (-8.264664, 2.16921), (-9.208453, 2.21471)],
    ),
}


def digest(folder: Path, names: tuple[str, ...]) -> str:
    there = [folder / name for name in names if (folder / name).exists()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in there)).hexdigest()


def check(dataset: Dataset | None, recipe: str) -> None:
    assert dataset is not None
    manifest, labels, samples, logmel = FROZEN[recipe]
    assert digest(dataset.path, MANIFEST) == manifest
    assert digest(dataset.path, LABELS) == labels
    assert digest(dataset.path, ("digests.csv",)) == samples
    for snr, expected in zip((0, 10, 20), logmel, strict=True):
        values = dataset.features(snr)
        found: Any = (values.mean(dtype=np.float64), values.std(dtype=np.float64))
        assert found == pytest.approx(expected, abs=1e-5)


def test_mini(tmp_path: Path) -> None:
    check(make(recipe="mini", clips_per_fold=6, out=tmp_path / "mini", jobs=1), "mini")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["remix2019", "remix2019-strict"])
def test_the_published_recipes_on_real_recordings(recipe: str, standin: Path, tmp_path: Path) -> None:
    check(make(recipe=recipe, replan=True, clips_per_fold=6, sources=standin, out=tmp_path / "d", jobs=1), recipe)
