"""What docs/developers.md says of packs that cannot work: the hub does not start, and a sentence says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.schema.fields import DeclarationError
from hub.schema.registry import Registry
from tests.forked import aether

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
        *(
            (f"class Thing(Record, access={RULE}, views={{'v': View({declared})}}):\n    name: str\n", sentence)
            for declared, sentence in {
                "": "v has no fields",
                "name='parent.name'": "name: the record has this name already",
                "include='parent.name'": "include: the record has this name already",
                "x='parent.name'": "x: thing has no reference 'parent'",
                "x='room.name'": "x: thing has no reference 'room'",
                "x='name'": "x: a view takes its fields from other records",
                "x=Each('nothing', 'name')": "x: there is no type 'nothing'",
                "x=Each('thing.room', 'name')": "x: thing.room does not point to thing",
            }.items()
        ),
        (
            f"class Thing(Record, access={RULE}, for_types=(Account,)):\n    name: str\n",
            "Thing: for_types are account-scoped or system, as the type itself",
        ),
        (
            f"class Room(Record, access={RULE}):\n    name: str\n\n\n"
            f"class Thing(Record, access={RULE}, for_types=(Room,)):\n    for_id: str\n",
            "Thing: two fields have the same name on the wire",
        ),
        (
            f"class Thing(Record, access={RULE}, on_delete='cascade'):\n    name: str\n",
            "Thing: on_delete is restrict, or cascade below a parent or with for_types",
        ),
        (
            f"class Thing(Record, access={RULE}):\n    code: Annotated[int, Field(lookup='country')]\n",
            "Thing.code: only a text that is no secret holds the code of a lookup",
        ),
        (
            f"class Thing(Record, access={RULE}):\n    code: Annotated[str, Field(lookup='countries')]\n",
            "thing.code: there is no lookup countries",
        ),
        (
            f"class Thing(Record, access={RULE}, history_days=0):\n    name: str\n",
            "Thing: history_days is 1 to 36500; leave it out for no bound",
        ),
        (f"class Thing(Record, acess={RULE}):\n    name: str\n", "Thing: unknown option acess"),
        ("@action('thing.do')\nasync def do(ctx, args): ...\n", "needs"),
    ],
)
def test_a_declaration_that_cannot_work_stops_the_start_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: str, sentence: str
) -> None:
    name = f"bad_{abs(hash(declared))}"
    (tmp_path / f"{name}.py").write_text(
        "from typing import Annotated\n\n"
        f"from hub import Access, Account, Each, Field, Record, View, action\n\n\n{declared}",
        "utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match=re.escape(sentence)):
        Registry.of([name])


@pytest.mark.parametrize("name", ["nowhere", "examples.nowhere"])
def test_a_pack_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"there is no pack {name}; install it .* PYTHONPATH"):
        Registry.of([name])


def test_what_a_pack_misses_is_not_taken_for_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import surely_not_installed\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeclarationError, match=r"the pack lacking cannot be loaded: .*'surely_not_installed' .*line 1"):
        Registry.of(["lacking"])


@pytest.mark.parametrize(
    ("source", "fault", "line"),
    [
        ("import os\n\ndef broken(:\n", "SyntaxError: invalid syntax", 3),
        ("from hub import Acces\n", "ImportError: cannot import name 'Acces'", 1),
        ("import os\nos.nowhere\n", "AttributeError: ", 2),
    ],
)
def test_a_pack_that_cannot_be_loaded_is_named_with_file_and_line(
    tmp_path: Path, source: str, fault: str, line: int
) -> None:
    (tmp_path / "mypack").mkdir()
    (tmp_path / "mypack" / "__init__.py").write_text("", "utf-8")
    (tmp_path / "mypack" / "records.py").write_text(source, "utf-8")
    environment = {"PYTHONPATH": str(tmp_path), "AETHER_PACKS": "mypack"}

    def started(**more: str) -> str:
        done = aether("serve", "--port", "0", "--data", str(tmp_path / "data"), **environment, **more)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    sentence = started()
    assert sentence.count("\n") == 1
    assert sentence.startswith(f"aether: the pack mypack cannot be loaded: {fault}")
    assert f"{tmp_path / 'mypack' / 'records.py'}, line {line})" in sentence
    told = started(AETHER_DEBUG="1")
    assert "Traceback" in told
    assert told.splitlines()[-1] == sentence.strip()
