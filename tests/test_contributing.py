"""The table "Where is ...?" of docs/contributing.md names what exists, in paths on which a file uses the next."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from paths import ROOT

PAGE = ROOT / "docs" / "contributing.md"


def table() -> list[tuple[str, str]]:
    section = PAGE.read_text(encoding="utf-8").split("## Where is ...?")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [(question, answer) for question, answer in rows if answer not in ("where", "---")]


def definitions(file: Path) -> dict[str, ast.stmt]:
    """The functions, classes and constants at the top level of a module, by name."""
    nodes: dict[str, ast.stmt] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            nodes[node.name] = node
        elif isinstance(node, ast.Assign):
            nodes |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            nodes[node.target.id] = node
    return nodes


MOST_FILES = {
    "How does a row of the manifest become samples?": 4,
    "How does a row's number come from predictions?": 8,
    "What happens in a training step?": 5,
    "What is a submission checked for?": 4,
    "How does `make` resume?": 4,
    "How is a download resumed?": 3,
    "How is a trained system applied to a WAV file?": 4,
    "How do I add a column that is no metric?": 1,
    "How do I add a source?": 2,
    "How do I add a setting of the training, such as one of the optimizer?": 2,
    "Where is mixup, where are the other augmentations?": 2,
    "How do I add a metric? Which metrics are shown? Which need stems?": 2,
}
"""Files to open at most to follow a question from one end to the other."""


def test_the_table_has_every_kind_of_question() -> None:
    questions = " ".join(question for question, _ in table())
    for word in (
        "download",
        "SNR",
        "plan",
        "resume",
        "2ap-aux",
        "augmentation",
        "PSDS",
        "confidence interval",
        "metric",
    ):
        assert word in questions
    assert set(MOST_FILES) <= {question for question, _ in table()}


def imported(file: Path, *, top: bool = False) -> set[str]:
    """Names of the modules that a module imports, and of what it imports from them; `top`: when it is imported."""
    names: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def used(file: Path, names: list[str]) -> set[str]:
    """What some definitions use, also by private functions and constants of their module: names, and methods as `.x`.

    A public function in between has to be among `names`.
    """
    bodies = definitions(file)
    seen: set[str] = set()
    following = [*names]
    while following:
        for node in ast.walk(bodies[following.pop()]):
            if isinstance(node, ast.Attribute):
                seen.add(f".{node.attr}")
            elif isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                following += [node.id] if node.id in bodies and (node.id[0] == "_" or node.id.isupper()) else []
    return seen


def is_reached(name: str, module: str, before: list[tuple[Path, list[str]]]) -> bool:
    """Whether the definitions named in the files before use a definition of a module."""
    for file, names in before:
        uses = used(file, names)
        if f".{name}" in uses or (name in uses and f"{module}.{name}" in imported(file)):
            return True
    return False


@pytest.mark.parametrize(("question", "answer"), table(), ids=[question for question, _ in table()])
def test_every_answer_names_what_exists_and_every_path_what_is_used_on_it(question: str, answer: str) -> None:
    is_path = " → " in answer
    places = answer.split(" → " if is_path else "; ")
    assert 1 <= len(places) <= MOST_FILES.get(question, 3 if is_path else 2), f"{question}: too many files to open"
    before: list[tuple[Path, list[str]]] = []
    for place in places:
        file, *names = re.findall(r"`([^`]+)`", place)
        path = ROOT / "remixbench" / file
        assert path.is_file(), f"{question}: no file {file}"
        assert set(names) <= set(definitions(path)), f"{question}: {names} not all in {file}"
        module = "remixbench." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in names if is_path and before else ():
            others = [other for other in names if other != name]
            assert is_reached(name, module, before) or name in used(path, others), f"{question}: what uses {name}?"
        before.append((path, names))


def test_the_map_of_the_leaderboard_has_every_module_in_the_order_of_its_imports() -> None:
    folder = ROOT / "remixbench" / "leaderboard"
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    lines = [line.strip().split("  ")[0] for line in docstring.splitlines() if line.startswith("    ")]
    order = [name for line in lines for name in line.split(", ")]
    files = {path.stem: path for path in folder.glob("*.py") if path.stem != "__init__"}
    packages = {path.parent.name: path for path in folder.glob("*/__init__.py")}
    assert sorted(order) == sorted(files | packages)
    for name, path in (files | packages).items():
        below = {
            module.split(".")[2] for module in imported(path, top=True) if module.startswith("remixbench.leaderboard.")
        }
        assert {order.index(module) for module in below} <= set(range(order.index(name) + (name in packages)))
