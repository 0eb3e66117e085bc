"""A pack for the tests of row rules: diaries, each its keeper's, what is in them, and a desk that points to one."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hub import Access, ChangeRecord, Context, Field, Record, Ref, Rows, View, action

_ME = {"$ref": "me.id"}
_KEPT = (
    Rows(("read",), {"$or": [{"keeper": _ME}, {"shared": True}]}),
    Rows(("update", "delete"), {"keeper": _ME}),
)
_OWN = (Rows(("read", "update", "delete"), {"created_by": _ME}), Rows(("create",), {"draft": True}))
Name = Annotated[str, Meta(max_length=100)]


def _rule(rows: tuple[Rows, ...] = ()) -> Access:
    return Access(read="viewer", create="viewer", update="viewer", delete="viewer", purge="viewer", rows=rows)


class Diary(Record, access=_rule(_KEPT), unique=(("code",),), searchable=("name",), indexes=(("keeper",),)):
    """What its keeper reads and writes; others read it where it is shared."""

    name: Name
    keeper: Annotated[str, Meta(max_length=64)] = ""
    shared: bool = False
    code: Annotated[str, Meta(max_length=64)] | None = None
    mood: Annotated[str, Meta(max_length=100), Field(hidden_from="editor", folded=True)] = "calm"


class DiaryPage(Record, parent=Diary, access=_rule(_OWN), searchable=("name",), on_delete="cascade"):
    """A page, which is whose who wrote it."""

    name: Name
    draft: bool = True
    see: Ref[Diary] | None = None


class DiaryFile(
    Record, parent=Diary, access=_rule(_OWN[:1]), unique=(("diary", "name"),), file=True, on_delete="cascade"
):
    """A file in a diary."""

    name: Name
    sha256: Annotated[str, Meta(min_length=64, max_length=64), Field(read_only=True)]
    size: Annotated[int, Field(read_only=True)]
    content_type: Annotated[str, Meta(max_length=200), Field(read_only=True)]


class Desk(Record, access=_rule(), views={"open": View(diary_name="diary.name")}, indexes=(("diary",),)):
    """A desk, which everybody sees, with a diary on it."""

    name: Name
    diary: Ref[Diary] | None = None


class DiaryMark(Record, access=_rule(), for_types=(Diary, DiaryPage), on_delete="cascade"):
    """A mark on a diary or a page."""

    name: Name = ""


class Look(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page to look at besides."""

    page: str | None = None


class Looked(Struct, frozen=True):
    """How many diaries there are for the caller."""

    count: int


@action("diary.look", needs="diary.read", target=Diary)
async def look(ctx: Context, args: Look) -> Looked:
    """Count the diaries that the caller may read, and read a page."""
    if args.page is not None:
        await ctx.get(DiaryPage, args.page)
    return Looked(len(await ctx.find(Diary)))


@action("diary.close", needs="diary.update", target=Diary)
async def close(ctx: Context, args: Look) -> Looked:
    """Write into a diary, and into a page of whoever wrote it."""
    assert ctx.target is not None
    writes = [ChangeRecord(Diary, ctx.target["id"], {"name": "closed"})]
    writes += [ChangeRecord(DiaryPage, args.page, {"name": "closed"})] if args.page is not None else []
    return await ctx.submit(writes, lambda done: Looked(len(done.results)))
