"""The wheel and the sdist: what is in them, and that the wheel works outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

import remixbench
from remixbench.recipe import recipes

pytest.importorskip("hatchling", reason="the package is built by hatchling, which is not here")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built as any installer builds them."""
    out = tmp_path_factory.mktemp("dist")
    script = f"from hatchling import build; build.build_wheel({str(out)!r}); build.build_sdist({str(out)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    return out


def names_in_wheel(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def tracked(*below: str) -> list[str]:
    """Return the files that git knows below some folders."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files belong to the package")
    listed = subprocess.run(["git", "ls-files", "-z", *below], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    assert set(tracked("remixbench")) <= names_in_wheel(built)


def test_the_wheel_holds_recipes_and_manifests(built: Path) -> None:
    wanted = {f"remixbench/_data/{name}" for name in tracked("recipes", "manifests")}
    assert wanted
    assert {name for name in names_in_wheel(built) if "/_data/" in name} == wanted


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "__init__.pyi",
        "leaderboard/published.yaml",
        "leaderboard/report/assets/template.html",
        "leaderboard/report/assets/style.css",
        "leaderboard/report/assets/core.js",
        "leaderboard/report/assets/vendor/d3.min.js",
        "leaderboard/report/assets/vendor/d3.LICENSE",
        "_data/recipes/remix2019-strict.yaml",
        "_data/manifests/remix2019-strict/roles.csv",
        "_data/manifests/remix2019/SHA256SUMS",
    ],
)
def test_what_is_not_python_is_there_too(built: Path, name: str) -> None:
    assert f"remixbench/{name}" in names_in_wheel(built)


def test_the_wheel_holds_nothing_else(built: Path) -> None:
    tops = {name.split("/")[0] for name in names_in_wheel(built)}
    assert tops == {"remixbench", f"remixbench-{remixbench.__version__}.dist-info"}
    assert not [name for name in names_in_wheel(built) if name.endswith((".wav", ".flac", ".part", ".pyc"))]


def test_the_sdist_holds_what_is_needed_to_build_test_and_document(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.split("/", 1)[-1] for member in archive.getmembers()}
    assert set(tracked("remixbench", "recipes", "manifests", "tests", "docs", "benchmarks")) <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "Makefile", "constraints.txt"} <= names


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["version"] == remixbench.__version__
    assert f"\nversion: {remixbench.__version__}\n" in citation


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in remixbench.__all__:
        assert (getattr(remixbench, name).__doc__ or "").strip(), f"remixbench.{name} has no docstring"


def test_the_wheel_works_in_a_fresh_environment_outside_the_repository(built: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    # the libraries of this environment, but not its remixbench: an editable install lies in a .pth or finder there
    (site,) = home.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(here) + "\n")
    (wheel,) = built.glob("*.whl")
    board = tmp_path / "board"  # as a host of a leaderboard installs it: from a wheel beside the requirements
    shutil.copytree(ROOT / "docs" / "examples" / "leaderboard-repository", board)
    shutil.copy(wheel, board)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--ignore-installed", "-r", "requirements.txt"], check=True, cwd=board)

    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REMIXBENCH"))}

    def command(*arguments: str) -> str:
        done = subprocess.run(
            [str(home / "bin" / "remixbench"), *arguments], cwd=tmp_path, env=clean, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [str(home / "bin" / "python"), "-c", "import remixbench; print(remixbench.__file__)"]
    assert subprocess.check_output(where, cwd=tmp_path, env=clean, text=True).startswith(str(site))
    assert [line.split()[0] for line in command("recipes").splitlines()] == list(recipes())
    command("-q", "make", "--recipe", "mini", "--clips-per-fold", "2", "--snr", "0", "--jobs", "1")
    assert "no differences" in command("-q", "verify", "mini")
    assert (tmp_path / "datasets" / "mini" / "snr_0" / "audio" / "00000.wav").is_file()
