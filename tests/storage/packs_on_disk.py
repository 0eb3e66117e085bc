"""Packs with steps, written to disk as their authors would: what the tests of migrations migrate."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path
from types import ModuleType

from hub.schema.record import RecordType, type_of
from hub.schema.registry import Registry

_numbers = itertools.count(1)

_HEAD = '''"""A pack of a test."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from hub import Access, Field, Record, Ref

RULE = Access(read="viewer", create="editor", update="editor", delete="editor")
Title = Annotated[str, Meta(max_length=50)]

'''

_STEP = '''"""{title}."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "{revision}"
down_revision = {before!r}
branch_labels = {labels!r}

LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql")


def upgrade():
{up}


def downgrade():
{down}
'''


class PackOnDisk:
    """A pack in a folder of `root`, whose declarations and steps are replaced one after the other."""

    def __init__(self, root: Path, label: str = "notes") -> None:
        self.name = f"{label}{next(_numbers)}x"
        self.label = self.name
        self.folder = root / self.name
        self.steps = self.folder / "migrations"
        self.folder.mkdir(parents=True)

    def declare(self, types: str) -> Registry:
        """Say what the pack declares from now on, and return the registry of it."""
        (self.folder / "__init__.py").write_text(_HEAD + types)
        return self.registry()

    def registry(self, *more: str) -> Registry:
        """Return the registry of the pack as it is on disk, and of more packages before it."""
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.name}.")]:
            del sys.modules[name]
        for left in self.folder.rglob("__pycache__/*"):  # two versions may be of one second and one size
            left.unlink()
        importlib.invalidate_caches()
        return Registry.of((*more, self.name))

    def step(self, up: str, down: str = "pass", title: str = "A step") -> str:
        """Write the next step by hand and return its revision."""
        number = len(self.revisions()) + 1
        revision = f"{self.label}_{number:04}"
        self.steps.mkdir(exist_ok=True)
        (self.steps / f"{revision}_by_hand.py").write_text(
            _STEP.format(
                title=title,
                revision=revision,
                before=f"{self.label}_{number - 1:04}" if number > 1 else None,
                labels=None if number > 1 else (self.label,),
                up=_indented(up),
                down=_indented(down),
            )
        )
        return revision

    def revisions(self) -> list[Path]:
        """Return the files of the steps in order."""
        return sorted(self.steps.glob("*.py"))

    def module(self) -> ModuleType:
        """Return the pack as it was loaded last."""
        return sys.modules[self.name]

    def kind(self, name: str) -> RecordType:
        """Return a type as it was declared last."""
        return type_of(getattr(self.module(), name))


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" if line.strip() else line for line in code.strip("\n").splitlines())
