"""The steps that there are, and which of them a database needs. Reads names of files; loads no step and no Alembic.

A branch is a folder of steps named `<label>_<number>_<words>.py`, numbered from 0001 without a hole; what is before the
words is the revision. The core's is beside this file, a pack's is its folder `migrations`. A pack without one grows by
what its declarations add.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hub.schema.registry import Registry
from storage.base import StorageRefused

CORE: Final = "hub.schema.core"
"""The package whose types go with the tables of storage itself."""
FOLDER: Final = "migrations"
LABEL_CHARS: Final = 24
_STEP: Final = re.compile(rf"(?P<label>[a-z][a-z0-9]{{0,{LABEL_CHARS - 1}}})_(?P<number>\d{{4}})_[a-z0-9_]+")


Migrate = Literal["auto", "refuse"]
"""What a start does where a database needs steps or additions: `auto` does it, `refuse` names the command for it."""
Said = Callable[[str], None]
"""Is told what is done next, in a few words."""


def nobody(text: str) -> None:
    """Listen to nothing that is said."""


def behind() -> str:
    """Return the sentence of a start that refuses."""
    return (
        "The database is not yet as this hub needs it: see what is to be done with `aether migrate plan`, do it with "
        "`aether migrate apply`, or set migrate = auto to have it done at the start."
    )


@dataclass(frozen=True, slots=True)
class Branch:
    """The steps of one package, in order. `revisions` has at least one."""

    label: str
    package: str
    folder: Path
    revisions: tuple[str, ...]

    @property
    def head(self) -> str:
        """The revision that this hub needs."""
        return self.revisions[-1]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a database is. `adopted` and `begun` get their stamp without a step.

    `adopted`: branches whose tables were made before there were steps, so that they stand at the first one.
    `begun`: branches of which nothing is there; their tables are made as declared, which is what the last step leaves.
    `pending`: the revisions to be run, in order.
    """

    adopted: tuple[Branch, ...]
    begun: tuple[Branch, ...]
    pending: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.adopted or self.begun or self.pending)


def branches_of(registry: Registry) -> tuple[Branch, ...]:
    """Return the branches of the packages that a registry was made of; raise `StorageRefused` for misnamed steps."""
    found: list[Branch] = []
    for package in registry.packages:
        branch = _branch(package, folder_of(package))
        if branch is None:
            continue
        same = next((b for b in found if b.label == branch.label), None)
        if same is not None:
            raise StorageRefused(
                f"The steps of {package} and of {same.package} are both named {branch.label}_…; rename one of the two."
            )
        found.append(branch)
    return tuple(found)


def folder_of(package: str) -> Path | None:
    """Return where the steps of a package are or would be; None for a module that is one file, which has none."""
    if package == CORE:
        return Path(__file__).with_name("core")
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) / FOLDER if places else None


def package_of(registry: Registry, module: str) -> str | None:
    """Return the package of a registry that a module belongs to."""
    inside = [package for package in registry.packages if f"{module}.".startswith(f"{package}.")]
    return max(inside, key=len, default=None)


def owned(registry: Registry, own: frozenset[str], branches: Iterable[Branch]) -> frozenset[str]:
    """Return the tables that belong to some branches: those of their packages' types, and `own` to the core."""
    packages = {branch.package for branch in branches}
    mine = {kind.name for kind in registry.types.values() if package_of(registry, kind.declared.__module__) in packages}
    return frozenset(mine | (own if CORE in packages else frozenset()))


def judge(
    branches: Iterable[Branch], stamps: frozenset[str], present: Callable[[Branch], bool], *, program: str = "this hub"
) -> Standing:
    """Return what a database with these stamps needs; raise `StorageRefused` for one that nobody here knows.

    `present` says whether the tables of a branch's first step are there; asked only where it has no stamp.
    """
    known = {branch.label: branch for branch in branches}
    place: dict[str, int] = {}
    for stamp in sorted(stamps):
        label = stamp.rpartition("_")[0]
        branch = known.get(label)
        if branch is None:
            raise StorageRefused(
                f"The database holds the tables of the pack {label or stamp}, which is not loaded "
                f"(its stamp is {stamp}); load that pack."
            )
        if stamp not in branch.revisions:
            raise StorageRefused(
                f"The database was brought to {stamp}, and {program} knows {label} up to {branch.head}; "
                "run the version of the hub that did it, or restore a backup of this one."
            )
        place[label] = branch.revisions.index(stamp)
    adopted: list[Branch] = []
    begun: list[Branch] = []
    pending: list[str] = []
    for branch in known.values():
        if branch.label in place:
            pending += branch.revisions[place[branch.label] + 1 :]
        elif present(branch):
            adopted.append(branch)
            pending += branch.revisions[1:]
        else:
            begun.append(branch)
    return Standing(tuple(adopted), tuple(begun), tuple(pending))


def way(branch: Branch, had: frozenset[str], revision: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the steps to run, and those to take back, that bring a branch with these stamps to a step of it."""
    revisions = branch.revisions
    stands = next((n for n, r in enumerate(revisions, 1) if r in had), 0)
    wanted = revisions.index(revision) + 1
    return revisions[stands:wanted], tuple(reversed(revisions[wanted:stands]))


def _branch(package: str, folder: Path | None) -> Branch | None:
    names = sorted(path.stem for path in folder.glob("*.py")) if folder is not None and folder.is_dir() else []
    if folder is None or not names:
        return None
    labels, numbers = set(), []
    for name in names:
        match = _STEP.fullmatch(name)
        if match is None:
            raise StorageRefused(f"{name}.py among the steps of {package} is not named like core_0001_words.py.")
        labels.add(match["label"])
        numbers.append(int(match["number"]))
    if len(labels) > 1:
        raise StorageRefused(f"The steps of {package} begin with {' and '.join(sorted(labels))}; one name is enough.")
    for wanted, number in enumerate(numbers, 1):
        if number != wanted:
            raise StorageRefused(
                f"The steps of {package} have number {number:04} where {wanted:04} is due; number them in their order."
            )
    label = labels.pop()
    return Branch(label, package, folder, tuple(f"{label}_{number:04}" for number in numbers))
