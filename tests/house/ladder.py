"""The ladder of the house as a value, and a reader of source files that finds every step taken upwards.

Knows which module stands on which step, which third parties live where, and how an import statement names
a module. Does not import what it reads: everything is found in the syntax tree, also inside functions and
`TYPE_CHECKING` blocks.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The longest matching prefix decides. A module of the house that none matches is a fault: give it a step.
STEPS: dict[str, int] = {
    "hub.app": 7,
    "hub.parts": 7,
    "hub.cli": 7,
    "hub.__main__": 7,
    "hub.edge": 6,
    "handlers": 5,
    "packs": 5,
    "channels": 4,
    "storage": 3,
    "hub.session": 2,
    "hub.access": 2,
    "hub.auth": 2,
    "hub.passwords": 2,
    "hub.tokens": 2,
    "hub.folder": 2,
    "hub.context": 2,
    "hub.vault": 2,
    "hub.schema": 1,
    "hub.settings": 1,
    "hub.logs": 1,
    "hub.metrics": 1,
    "hub.version": 0,
    "hub.wire": 0,
}

ROOTS = ("hub", "channels", "handlers", "storage", "packs")

# Those who write against the public names of `hub`, and of the house import nothing else but themselves.
AUTHORS = ("packs", "examples")

# Third party -> the only places of the house that may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "starlette": ("hub.edge", "hub.app"),
    "uvicorn": ("hub.edge", "hub.app"),
    "redis": ("storage.redis",),
    "hiredis": ("storage.redis",),
    "sqlalchemy": ("storage.sql", "storage.mariadb", "storage.migrations"),
    "alembic": ("storage.migrations",),
    "cryptography": ("hub.vault",),
    "limits": ("storage",),
    "pycountry": ("hub.schema.core",),
    "jwt": ("hub.tokens",),
    "argon2": ("hub.passwords",),
    "bcrypt": ("hub.passwords",),
    "aiomysql": ("storage.mariadb",),
    "pymysql": ("storage.mariadb",),
    "typer": ("hub.cli",),
    "rich": ("hub.cli",),
    "aether_client": ("hub.cli",),
}

# The steps of a pack are written in Alembic's words.
STEPS_OF_PACKS = re.compile(r"packs\.[a-z_]+\.migrations\.")

# Only these read settings or the environment; everybody below them is handed plain values.
SETTINGS_READERS = ("hub.settings", "hub.app", "hub.parts", "hub.cli")
ENVIRONMENT = {"environ", "environb", "getenv"}

# The client distribution stands beside the ladder: it imports nothing of the house.
CLIENT = "aether_client"
CLIENT_SOURCE = Path("clients/python")


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute dotted name, and the line that names it."""

    module: str
    line: int


@dataclass(frozen=True)
class Source:
    """One Python file of the house and the dotted name under which it is imported."""

    module: str
    path: Path
    tree: ast.Module


def faults(root: Path) -> list[str]:
    """Return a sentence, `path:line: what is wrong`, for every breach of the ladder under `root`."""
    sources = list(_sources(root))
    known = {source.module for source in sources}
    declared = _declared(root / "pyproject.toml") | {CLIENT}
    client_declared = _declared(root / CLIENT_SOURCE / "pyproject.toml")
    found = []
    for source in sources:
        rule = _client_faults if _within(source.module, (CLIENT,)) else _house_faults
        allowed = client_declared if rule is _client_faults else declared
        for line, text in rule(source, known, allowed):
            found.append(f"{source.path.relative_to(root).as_posix()}:{line}: {text}")
    return sorted(found)


def _house_faults(source: Source, known: set[str], declared: set[str]) -> Iterator[tuple[int, str]]:
    """Check one file of the house or of the examples."""
    if source.module == "hub":  # the public names: loaded lazily from every step
        return
    in_house = _within(source.module, ROOTS)
    own = _step(source.module)
    if in_house and own is None:
        yield 1, f"{source.module} has no step on the ladder"
    for line in _relative(source.tree):
        yield line, "relative import: import absolutely"
    if in_house and not _within(source.module, SETTINGS_READERS):
        for line in _environment(source.tree):
            yield line, f"{source.module} reads the environment: only hub.app and hub.cli read settings"
    for item in _imports(source.tree, known):
        top = item.module.partition(".")[0]
        if top in ROOTS:
            yield from _upward(source.module, own, item)
        elif in_house:
            yield from _strangers(source.module, item, top, declared)


def _upward(module: str, own: int | None, item: Import) -> Iterator[tuple[int, str]]:
    """Judge an import of a module of the house."""
    if _within(module, AUTHORS):
        same = _within(item.module, (module.partition(".")[0],))
        if item.module != "hub" and not same:
            yield item.line, f"{module} imports {item.module}: packs and examples use the public names of hub"
        return
    if item.module == "hub":
        yield item.line, f"{module} imports the public names of hub: only packs, examples and tests do"
        return
    if _within(item.module, ("hub.settings",)) and not _within(module, SETTINGS_READERS):
        yield item.line, f"{module} imports hub.settings: only hub.app and hub.cli read settings"
    step = _step(item.module)
    if own is not None and step is not None and step > own:
        yield item.line, f"{module} (step {own}) imports {item.module} (step {step})"


def _strangers(module: str, item: Import, top: str, declared: set[str]) -> Iterator[tuple[int, str]]:
    """Judge an import of anything that is not of the house."""
    if top in sys.stdlib_module_names:
        return
    if top in {"alembic", "sqlalchemy"} and STEPS_OF_PACKS.match(module):
        return
    homes = HOMES.get(top)
    if homes is not None and not _within(module, homes):
        yield item.line, f"{module} imports {top}, whose home is {' and '.join(homes)}"
    elif homes is None and top not in declared:
        yield item.line, f"{module} imports {top}, which is no dependency in pyproject.toml"


def _client_faults(source: Source, known: set[str], declared: set[str]) -> Iterator[tuple[int, str]]:
    """Check one file of the client distribution."""
    for line in _relative(source.tree):
        yield line, "relative import: import absolutely"
    for item in _imports(source.tree, known):
        top = item.module.partition(".")[0]
        if top in ROOTS:
            yield item.line, f"{source.module} imports {item.module}: the client is a distribution of its own"
        elif top != CLIENT and top not in sys.stdlib_module_names and top not in declared:
            yield item.line, f"{source.module} imports {top}, which is no dependency of the client"


def _sources(root: Path) -> Iterator[Source]:
    """Parse every Python file of the house, the examples and the client."""
    places = [(root, name) for name in (*ROOTS, "examples")] + [(root / CLIENT_SOURCE, CLIENT)]
    for base, name in places:
        for path in sorted((base / name).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            yield Source(".".join(parts), path, ast.parse(path.read_text(encoding="utf-8"), str(path)))


def _imports(tree: ast.Module, known: set[str]) -> Iterator[Import]:
    """Name every absolutely imported module; `from a import b` means `a.b` where that is a module itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(inner if inner in known else node.module, node.lineno)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno)


def _relative(tree: ast.Module) -> Iterator[int]:
    """Lines with an import that begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            yield node.lineno


def _environment(tree: ast.Module) -> Iterator[int]:
    """Lines that touch `os.environ` or `os.getenv`, however they were imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
            yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for alias in node.names if alias.name in ENVIRONMENT)


def _called(node: ast.Call) -> str:
    """The last name of what is called: `import_module` for `importlib.import_module(…)`."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _within(module: str, prefixes: tuple[str, ...]) -> bool:
    """Whether `module` is one of `prefixes` or stands below one."""
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def _step(module: str) -> int | None:
    """The step of a module by its longest known prefix; None when it has none."""
    while module:
        if module in STEPS:
            return STEPS[module]
        module = module.rpartition(".")[0]
    return None


def _declared(pyproject: Path) -> set[str]:
    """Import names of the dependencies of a distribution; ours are all imported under their own names."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    names = (re.match(r"[A-Za-z0-9_.-]+", line) for line in project.get("dependencies", []))
    return {name.group().replace("-", "_").lower() for name in names if name is not None}
