"""What docs/developers.md says of packs that cannot work: the hub does not start, and a sentence says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.schema.fields import DeclarationError
from hub.schema.registry import Registry

RULE = 'Access(read="viewer", create="editor", update="editor", delete="editor")'


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ("class Thing(Record):\n    name: str\n", "Thing has no rule; declare access="),
        (
            f"class Thing(Record, access={RULE.replace('viewer', 'viewr')}):\n    name: str\n",
            "there is no role 'viewr'",
        ),
        (f"class Thing(Record, access={RULE}):\n    seq: int\n", "Thing.seq: this name is reserved"),
        (f"class Thing(Record, access={RULE}):\n    size: set\n", "Thing.size: <class 'set'> is no type of a field"),
        (f"class Thing(Record, access={RULE}, colour=1):\n    name: str\n", "unknown option colour"),
        (
            f'class Thing(Record, access={RULE}, unique=(("nmae",),)):\n    name: str\n',
            "names 'nmae', which is no field",
        ),
        ("@action('thing.do')\nasync def do(ctx, args): ...\n", "needs"),
    ],
)
def test_a_declaration_that_cannot_work_stops_the_start_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: str, sentence: str
) -> None:
    name = f"bad_{abs(hash(declared))}"
    (tmp_path / f"{name}.py").write_text(f"from hub import Access, Record, action\n\n\n{declared}", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match=re.escape(sentence)):
        Registry.of([name])


@pytest.mark.parametrize("name", ["nowhere", "examples.nowhere"])
def test_a_pack_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"there is no pack {name}"):
        Registry.of([name])


def test_what_a_pack_misses_is_not_taken_for_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import surely_not_installed\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        Registry.of(["lacking"])
