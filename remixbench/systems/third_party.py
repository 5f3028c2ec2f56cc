"""Systems from a Python file, and the source files that a third-party system consists of."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from remixbench.errors import InputError, nearest, one_line
from remixbench.files import sha256

_MODULE = "remixbench_system_"
"""Prefix of the names of modules loaded from files."""
_OURS = "__imported_by_a_remixbench_system__"
"""Attribute of the modules that such a file imported from its folder."""


def load_from_file(reference: str, kind: str = "system") -> tuple[Callable[..., Any], Path]:
    """Import the class or function that `FILE.py:NAME` names; returns it and the file's absolute path.

    `kind` is what error messages call it: a system or an encoder.

    The file may import modules of its own folder. It is executed once per process, and again if it, or a module that it
    imports, has changed.

    Raises
    ------
    InputError
        If the reference names no class, the file is missing or cannot be imported, or does not have that class.
    """
    path, _, name = reference.rpartition(":")
    if not path.endswith(".py") or not name:
        raise InputError(f"{kind} '{reference}': expected FILE.py:NAME, the name of a class or function in that file")
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise InputError(f"{kind} '{reference}': no such file: {file}")
    module = _import(file, reference, kind)
    factory = getattr(module, name, None)
    if not callable(factory):
        classes = sorted(
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        )
        choices = f"; it has {', '.join(classes)}" if classes else ""
        raise InputError(f"{kind} '{reference}': {file} has no class '{name}'{nearest(name, classes)}{choices}")
    return factory, file


def _import(file: Path, reference: str, kind: str) -> ModuleType:
    imports = _local_imports(file)
    digest = _digest(sorted({file, *imports}))
    folder = hashlib.sha256(bytes(file.parent)).hexdigest()
    name = f"{_MODULE}{file.stem}_{folder[:8]}_{digest[:16]}"  # a changed file is another module
    if name in sys.modules:
        return sys.modules[name]
    loader = SourceFileLoader(name, str(file))
    module_spec = spec_from_file_location(name, file, loader=loader)
    assert module_spec is not None  # a loader is given
    module = module_from_spec(module_spec)
    tops = {path.relative_to(file.parent).parts[0].removesuffix(".py") for path in imports}
    replaced = _forget(tops, file.parent)
    imported = set(sys.modules)
    sys.modules[name] = module  # as import does: dataclasses and pickle need it there
    sys.path.insert(0, str(file.parent))
    # Python's cache of compiled modules tells sources apart by size and time in seconds: an edit might not be seen
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script without a main guard may exit
        del sys.modules[name]
        raise InputError(f"{kind} '{reference}': {file} cannot be imported ({one_line(error)})") from error
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(file.parent))
        for key in sys.modules.keys() - imported:
            if key.partition(".")[0] in tops:
                setattr(sys.modules[key], _OURS, True)
        sys.modules.update(replaced)
    return module


def _forget(names: set[str], folder: Path) -> dict[str, ModuleType]:
    """Drop modules of these names that would be taken for those of a folder.

    These are modules that a system imported before, and others, which are returned to be restored afterwards.
    """
    others = {}
    for key in [key for key in sys.modules if key.partition(".")[0] in names]:
        module = sys.modules[key]
        if hasattr(module, _OURS):
            del sys.modules[key]
        elif folder not in Path(getattr(module, "__file__", None) or "/").parents:
            others[key] = sys.modules.pop(key)
    return others


def digest_of_sources(factory: Callable[..., Any], file: Path | None = None) -> str:
    """Return a digest of the source files by which a factory's network is defined.

    `file`, which names the factory, and what it imports are included, wherever the factory is defined. For code typed
    at a prompt, it is a digest of the compiled code.
    """
    files = {*source_files(factory), *({file, *_local_imports(file)} if file is not None else ())}
    return _digest(sorted(files)) if files else sha256(_code(factory))


def source_files(factory: Callable[..., Any]) -> Iterator[Path]:
    """Yield the source files, sorted, by which a factory's network is defined.

    Of an installed package these are all its Python files; of a file, or of a registered class, that file and what it
    imports from the same folder; none for code typed at a prompt.
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
    files: set[Path] = set()
    waiting = [file]
    while waiting:
        source = waiting.pop()
        try:
            tree = ast.parse(source.read_bytes())
        except (SyntaxError, ValueError):  # importing it says so
            continue
        for node in ast.walk(tree):
            for module in _imported(node, source, file.parent):
                for path in (module.with_suffix(".py"), module / "__init__.py"):
                    if path.is_file() and path not in files and path != file:
                        files.add(path)
                        waiting.append(path)
    return files


def _imported(node: ast.AST, file: Path, folder: Path) -> Iterator[Path]:
    """Yield where in `folder` the modules of an import statement of `file` may be, without suffix."""
    if isinstance(node, ast.Import):
        candidates = [(folder, alias.name.split(".")) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = file.parents[node.level - 1] if node.level else folder
        module = node.module.split(".") if node.module else []
        candidates = [(base, [*module, alias.name]) for alias in node.names]  # a name may be a module of a package
    else:
        return
    for base, parts in candidates:
        if parts[0] == "remixbench":  # its version stands for it
            continue
        for count in range(1, len(parts) + 1):  # each package of a.b.c is imported
            yield base.joinpath(*parts[:count])
        if base != folder and folder in base.parents:
            yield base / "__init__"


def _code(factory: object) -> bytes:
    """Return the compiled code of a function, or of the methods of a class, and the constants in it."""
    if isinstance(factory, functools.partial):
        return _code(factory.func) + repr((factory.args, sorted(factory.keywords.items()))).encode()
    if isinstance(factory, type):
        bases = [base for base in factory.__mro__ if base.__module__ == factory.__module__]
        return b"".join(key.encode() + _code(value) for base in bases for key, value in sorted(vars(base).items()))
    code = getattr(getattr(factory, "__func__", factory), "__code__", None)
    return _code_of(code) if isinstance(code, CodeType) else b""


def _code_of(code: CodeType) -> bytes:
    constants = [
        _code_of(constant) if isinstance(constant, CodeType) else repr(constant).encode() for constant in code.co_consts
    ]
    return b"".join([code.co_code, " ".join(code.co_names).encode(), *constants])


def _digest(files: list[Path]) -> str:
    """Return the SHA-256 of the files' names and contents, whatever folder they lie in."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        total.update(f"{file.name}\n{len(content)}\n".encode() + content)
    return total.hexdigest()
