"""Systems from a Python file, and the source files that a third-party system consists of."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from remixbench.errors import InputError, nearest, one_line


def load_from_file(reference: str) -> tuple[Callable[..., Any], Path]:
    """Import the class or function that `FILE.py:NAME` names; returns it and the file's absolute path.

    The file may import modules of its own folder. It is executed once per content and process.

    Raises
    ------
    InputError
        If the reference names no class, the file is missing or cannot be imported, or does not have that class.
    """
    path, _, name = reference.rpartition(":")
    if not path.endswith(".py") or not name:
        raise InputError(f"system '{reference}': expected FILE.py:NAME, the name of a class or function in that file")
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise InputError(f"system '{reference}': no such file: {file}")
    module = _import(file, reference)
    factory = getattr(module, name, None)
    if not callable(factory):
        made_here = sorted(
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        )
        there = f"; there are: {', '.join(made_here)}" if made_here else ""
        raise InputError(f"system '{reference}': {file} has no class '{name}'{nearest(name, made_here)}{there}")
    return factory, file


def _import(file: Path, reference: str) -> ModuleType:
    digest = _digest(sorted({file, *_local_imports(file)}))
    name = f"remixbench_system_{file.stem}_{digest[:16]}"  # a changed file is another module
    if name in sys.modules:
        return sys.modules[name]
    found = spec_from_file_location(name, file)
    assert found is not None  # it ends in .py
    assert found.loader is not None
    module = module_from_spec(found)
    sys.modules[name] = module  # as import does: dataclasses and pickle need it there
    sys.path.insert(0, str(file.parent))
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"system '{reference}': {file} cannot be imported ({one_line(error)})") from error
    finally:
        sys.path.remove(str(file.parent))
    return module


def digest_of_sources(factory: Callable[..., Any]) -> str | None:
    """Return a digest of the source files by which a factory's network is defined; None where there are none."""
    files = list(source_files(factory))
    return _digest(files) if files else None


def source_files(factory: Callable[..., Any]) -> Iterator[Path]:
    """Yield the source files, sorted, by which a factory's network is defined.

    Of an installed package these are all its Python files; of a file, or of a registered class, that file and what it
    imports from the same folder; none for what was typed at a prompt.
    """
    try:
        file = Path(inspect.getsourcefile(factory) or "")
    except (TypeError, OSError):  # typed at a prompt, or compiled
        return
    if not file.is_file():
        return
    top = factory.__module__.partition(".")[0]
    package = find_spec(top) if top in sys.modules and top != "__main__" and "." in factory.__module__ else None
    if package is not None and package.submodule_search_locations:
        for folder in sorted(package.submodule_search_locations):
            yield from sorted(Path(folder).rglob("*.py"))
    else:
        yield from sorted({file, *_local_imports(file)})


def _local_imports(file: Path) -> set[Path]:
    """Return the modules that a file imports from its own folder, and what these import in turn."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        try:
            tree = ast.parse(waiting.pop().read_bytes())
        except (SyntaxError, ValueError):  # importing it says so
            continue
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                base = file.parent.joinpath(*name.split("."))
                for path in (base.with_suffix(".py"), base / "__init__.py"):
                    if path.is_file() and path not in found and path != file:
                        found.add(path)
                        waiting.append(path)
    return found


def _digest(files: list[Path]) -> str:
    """Return the SHA-256 of the files' names and contents, whatever folder they lie in."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        total.update(f"{file.name}\n{len(content)}\n".encode() + content)
    return total.hexdigest()
