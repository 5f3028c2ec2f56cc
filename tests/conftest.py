"""What several test modules share: small corpora, a data set made once, real recordings, the published tables."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from filelock import FileLock
from paths import SHARED

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.recipe import Recipe, parse_recipe


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, begin with the modules that have slow ones.

    A long module that is begun last keeps one process busy while the others have nothing left to do.
    """
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_collection() -> None:
    """Collect no garbage among what is being imported."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is imported and collected, which stays: a tenth of the suite's time."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sources folder in the published layout, tiny; tests that change it work on a copy."""
    return tiny.write_corpus(tmp_path_factory.mktemp("tiny") / "sources")


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    return parse_recipe(tiny.RECIPE, "tiny")


@pytest.fixture(scope="session")
def strict_recipe() -> Recipe:
    return parse_recipe(tiny.STRICT, "tiny-strict")


@pytest.fixture(scope="session")
def made(corpus: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny data set with stems, made by one job; tests that change it work on a copy."""
    dataset = make(recipe=tiny_recipe, sources=corpus, out=tmp_path_factory.mktemp("made") / "tiny", jobs=1, stems=True)
    assert dataset is not None
    return dataset


@pytest.fixture
def copied(made: Dataset, tmp_path: Path) -> Dataset:
    """A copy of `made` to change."""
    shutil.copytree(made.path, tmp_path / "tiny")
    return Dataset.open(tmp_path / "tiny")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, which for tiny networks is the fastest."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sources folder of real recordings in the layout and formats of the published sources."""
    expand = SHARED / "standin" / "expand"
    if not expand.exists():
        pytest.skip("the stand-in recordings are not here")
    base = tmp_path_factory.getbasetemp()
    above = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # what all worker processes share
    folder = above / "standin" / "sources"
    with FileLock(above / "standin.lock"):
        if not folder.exists():
            subprocess.run([sys.executable, str(expand), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sources folder with the two tables as published and no audio."""
    tables = SHARED / "metadata"
    if not tables.exists():
        pytest.skip("the published tables are not here")
    folder = tmp_path_factory.mktemp("published")
    for name, place in (
        ("TAU2019-development-meta.csv", f"{tiny.TAU}/meta.csv"),
        ("FSDKaggle2018-train_post_competition.csv", tiny.FSD_TABLE),
    ):
        (folder / place).parent.mkdir(parents=True)
        shutil.copy(tables / name, folder / place)
    return folder
