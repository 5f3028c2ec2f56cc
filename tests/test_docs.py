"""The documentation says what the program does: every block that can be run is run, in order, page by page.

How a block is treated stands in an HTML comment on a line before it:

(none)                          ```console, ```bash and ```python are run in the page's workspace; what a console block
                                shows below a command must be what comes out ("..." stands for anything)
<!-- continues: PAGE -->     at the top of a page: its workspace begins as a copy of what PAGE left
<!-- writes: FILE -->           the block is written to FILE of the workspace
<!-- needs: WHAT -->            what this machine may not have: of remixbench commands the options are checked, the rest
                                is parsed, nothing is run
<!-- runs as a job array -->    a shell script whose `#SBATCH --array` tasks are run, one after another

Commands of remixbench and python run in this process, which has imported what they need, unless they are part of a
larger shell command. That tasks and commands in processes of their own get along is tested where locks and signals are.

Pages are run where matplotlib and jinja2 are, as in the project's own set-up.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from paths import ROOT

import remixbench
from remixbench.cli import group, run
from remixbench.recipe import Columns, Features, Mix, Plan, Recipe, Source, Training

DOCS = ROOT / "docs"
PAGES = {path.stem: path for path in sorted(DOCS.glob("*.md"))}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!-- (continues|writes|needs|runs as a job array):? ?(.*?) -->")
RUNNABLE = ("console", "bash", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the comment before it as (kind, value)."""

    page: str
    line: int
    language: str
    text: str
    comment: tuple[str, str]

    @property
    def where(self) -> str:
        return f"docs/{self.page}.md, line {self.line}"


def blocks(page: str) -> list[Block]:
    text = PAGES[page].read_text(encoding="utf-8")
    result = []
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip("\n").rsplit("\n", 1)[-1]
        comment = COMMENT.fullmatch(before.strip())
        kind = (comment[1], comment[2]) if comment else ("", "")
        result.append(Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2], kind))
    return result


def continues(page: str) -> str | None:
    comment = re.search(r"<!-- continues: (.*?) -->", PAGES[page].read_text(encoding="utf-8"))
    return comment[1] if comment else None


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Return every command of a console block with the lines shown below it."""
    result: list[tuple[str, list[str]]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            result.append((line[2:], []))
        elif result:
            result[-1][1].append(line)
        else:
            raise AssertionError(f"{block.where}: a console block begins with '$ '")
    return result


def shell_environment() -> dict[str, str]:
    """Return an environment in which `remixbench` and `python` are those of this interpreter."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def output_of(command: str, folder: Path) -> str:
    """Run a command in `folder` and return what it prints; anything but status 0 is a failure."""
    plain, _, file = command.partition(" > ")
    words = shlex.split(plain, comments=True)
    site = words.pop(0).removeprefix("PYTHONPATH=") if words[0].startswith("PYTHONPATH=") else None
    if words[0] in ("remixbench", "python") and not set("|&;<>$*\n") & set(plain + file) and "-m" not in words:
        printed, said = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(said),
        ):
            if site is not None:
                patch.syspath_prepend(str(folder / site))
            if words[0] == "remixbench":
                status = run(words[1:])
                assert status == 0, f"{command}: {said.getvalue()}"
            else:
                (script,) = words[1:]
                runpy.run_path(script, run_name="__main__")
        if file:
            (folder / file).write_text(printed.getvalue(), encoding="utf-8")
            return said.getvalue()
        return said.getvalue() + printed.getvalue()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=shell_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stderr + done.stdout


def check_shown(block: Block, command: str, shown: list[str], output: str) -> None:
    """Check that every line shown occurs in the output, in order."""
    printed = iter(line.rstrip() for line in output.splitlines())
    for line in shown:
        pattern = ".*".join(map(re.escape, line.rstrip().split("...")))
        if pattern != ".*":  # a line of dots alone stands for any number of lines
            assert any(re.fullmatch(pattern, other) for other in printed), (
                f"{block.where}: `{command}` does not print {line!r}, but\n{output}"
            )


def check_options(block: Block) -> None:
    """Check that the remixbench commands of a block exist and take what they are given."""
    if block.language == "python":
        ast.parse(block.text)
        return
    subprocess.run(["bash", "-n"], input=block.text.replace("$ ", "  "), text=True, check=True)
    lines = [command for command, _ in commands(block)] if block.language == "console" else block.text.splitlines()
    text = "\n".join(lines).replace("\\\n", " ")
    for call in re.findall(r"(?:^|\s)remixbench (.*)$", text, re.MULTILINE):
        words = shlex.split(re.sub(r"\$\{?\w+\}?", "1", call), comments=True)
        with click.Context(group) as above:
            rest = group.make_parser(above).parse_args(words)[1] if words[0].startswith("-") else words
            command = group.get_command(above, rest[0])
            assert command is not None, f"{block.where}: no command {rest[0]}"
            command.make_context(rest[0], rest[1:], parent=above)


def run_job_array(block: Block, folder: Path) -> None:
    """Run the tasks of a Slurm script's array, with the variables that Slurm sets, one after another."""
    array = re.search(r"^#SBATCH --array=(\d+)-(\d+)$", block.text, re.MULTILINE)
    assert array, f"{block.where}: no line '#SBATCH --array=FIRST-LAST'"
    first, last = int(array[1]), int(array[2])
    command = re.sub(r"^#.*\n", "", block.text, flags=re.MULTILINE).replace("\\\n", " ").strip()
    assert "\n" not in command, f"{block.where}: expected one command"
    for number in range(first, last + 1):
        task = command
        for name, value in (("ARRAY_TASK_ID", number), ("ARRAY_TASK_COUNT", last - first + 1), ("CPUS_PER_TASK", 1)):
            task = task.replace(f"$SLURM_{name}", str(value))
        output_of(task, folder)


def run_block(block: Block, folder: Path, names: dict[str, object]) -> None:
    kind, value = block.comment
    if kind == "writes":
        (folder / value).parent.mkdir(parents=True, exist_ok=True)
        (folder / value).write_text(block.text, encoding="utf-8")
    elif block.language not in RUNNABLE:
        return
    elif kind == "needs":
        check_options(block)
    elif kind == "runs as a job array":
        run_job_array(block, folder)
    elif block.language == "python":
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block.text, block.where, "exec"), names)
    elif block.language == "bash":
        output_of(block.text, folder)
    else:
        for command, shown in commands(block):
            check_shown(block, command, shown, output_of(command, folder))


class Workspaces:
    """The workspace that each page leaves; a page is run once."""

    def __init__(self, above: Path) -> None:
        self.above = above
        self.left: dict[str, Path] = {}
        self.tried: set[str] = set()

    def after(self, page: str) -> Path:
        if page not in self.left:
            assert page not in self.tried, f"docs/{page}.md failed, and this page continues it"
            self.tried.add(page)
            folder = self.above / page
            before = continues(page)
            if before:
                shutil.copytree(self.after(before), folder)
            else:
                folder.mkdir()
            names: dict[str, object] = {"__name__": "__main__"}
            for block in blocks(page):
                run_block(block, folder, names)
            self.left[page] = folder
        return self.left[page]


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Workspaces:
    return Workspaces(tmp_path_factory.mktemp("docs"))


@pytest.fixture(autouse=True)
def _as_outside(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    pytest.importorskip("matplotlib", reason="pages draw; matplotlib is not here")
    pytest.importorskip("jinja2", reason="pages make the report; jinja2 is not here")
    monkeypatch.delenv("REMIXBENCH_WORKSPACE", raising=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language in RUNNABLE for b in blocks(page))])
def test_every_command_of_a_page_runs(page: str, workspaces: Workspaces) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        workspaces.after(page)


def test_every_page_is_in_the_table_of_contents() -> None:
    toctrees = re.findall(r"^```\{toctree\}\n(.*?)^```$", PAGES["index"].read_text(), re.MULTILINE | re.DOTALL)
    listed = [line for toctree in toctrees for line in toctree.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == sorted(set(PAGES) - {"index"})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", PAGES[page].read_text(encoding="utf-8")):
        assert target.startswith("https://") or (DOCS / target).exists(), target


def test_every_named_test_exists() -> None:
    named = {name for path in PAGES.values() for name in re.findall(r"tests/[\w/]+\.py::\w+", path.read_text("utf-8"))}
    assert len(named) > 50
    for name in sorted(named):
        file, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_public_name_is_in_the_api() -> None:
    text = PAGES["api"].read_text(encoding="utf-8")
    for name in remixbench.__all__:  # functions, classes and the packages scoring and systems
        assert re.search(rf":: remixbench\.{name}\b", text), name


def test_every_key_of_a_recipe_is_explained_with_its_default() -> None:
    rows = {}
    section = ""
    for line in PAGES["recipes"].read_text(encoding="utf-8").split("## Every key")[1].splitlines():
        if line.startswith("### "):
            section = line
        for key in re.findall(r"`(\w+)`", line.split("|")[1] if line.startswith("| `") else ""):
            rows[section, key] = line
    for name, model in (("plan", Plan), ("mix", Mix), ("features", Features), ("scenes", Source)):
        section = next(title for title, _ in rows if f"`{name}`" in title)
        assert {key for title, key in rows if title == section} == set(model.model_fields), name
    text = PAGES["recipes"].read_text(encoding="utf-8")
    for key in (*Recipe.model_fields, *Training.model_fields, *Columns.model_fields):
        assert f"`{key}`" in text, key


def test_the_keys_and_columns_of_files_are_explained(workspaces: Workspaces) -> None:
    text = PAGES["formats"].read_text(encoding="utf-8")
    folder = workspaces.after("formats")
    run_folder = folder / "runs/mini/gap/snr_20/fold_4/seed_0"
    keys = [
        *json.loads((folder / "datasets/mini/dataset.json").read_text()),
        *json.loads((run_folder / "run.json").read_text()),
        *json.loads((run_folder / "metrics.json").read_text()),
    ]
    tables = [*(folder / "datasets/mini").glob("*.csv"), *(folder / "datasets/mini").glob("*/*.[ct]sv")]
    tables += [folder / "leaderboard/mini.csv", run_folder / "history.csv"]
    for table in tables:
        keys += re.split(r"[,\t]", table.read_text(encoding="utf-8").splitlines()[0])
    assert len(tables) >= 11
    assert sorted({key for key in keys if f"`{key}`" not in text}) == []


def test_the_example_system_is_small_and_as_shown() -> None:
    example = DOCS / "examples" / "bands-system"
    sources = {path.name: path.read_text(encoding="utf-8") for path in example.iterdir() if path.is_file()}
    shown = {block.comment[1]: block.text for block in blocks("systems") if "bands-system" in block.comment[1]}
    assert shown == {f"bands-system/{name}": text for name, text in sources.items()}
    assert sum(len(text.splitlines()) for text in sources.values()) < 40


@pytest.mark.parametrize(("page", "name"), [("own-loop", "own_loop.py"), ("systems", "mel128.py")])
def test_the_example_scripts_are_short_and_as_shown(page: str, name: str) -> None:
    text = (DOCS / "examples" / name).read_text(encoding="utf-8")
    assert {block.comment[1]: block.text for block in blocks(page)}[name] == text
    assert len(text.splitlines()) <= 40


@pytest.mark.slow
def test_the_tutorial_notebook_runs_and_shows_tables_and_plots(workspaces: Workspaces, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="notebooks are run by nbclient")
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient")
    pytest.importorskip("matplotlib", reason="the tutorial draws with matplotlib")
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in notebook.cells)  # outputs would go stale
    folder = tmp_path / "workspace"  # with the data set, and a run of `gap`
    shutil.copytree(workspaces.after("getting-started"), folder)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert shown.count("image/png") == 2  # a clip at three SNRs, and scores with their intervals
    assert shown.count("text/html") == 2  # the leaderboard, and a part of it as a data frame
