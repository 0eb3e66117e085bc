"""Deciding what brings something back: a deleted record, or values that a record had before. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.schema.record import Image, RecordType
from hub.schema.writes import Revert
from hub.wire.errors import HubError
from storage.known import plan_of

if TYPE_CHECKING:
    from storage.work import Work


def restore(work: Work, kind: RecordType, rec: str) -> Image:
    """Bring a deleted record back; one that is live stays as it is."""
    old = work.there(kind, rec)
    work.may("delete", kind, old, "rec")
    if old["deleted_at"] is None:
        return old
    if kind.parent is not None and kind.parent_wire is not None:
        parent = work.get(kind.parent, old[kind.parent_wire])
        if parent is None or parent["deleted_at"] is not None:
            raise HubError(
                "relation.restricted",
                f"The {kind.parent.name} that it belongs to is deleted; restore that first.",
                path="rec",
                details={"type": kind.parent.name, "rec": old[kind.parent_wire]},
            )
    meta = work.meta(old) | {"deleted_at": None}
    image = {**old, **meta}
    work.may("delete", kind, image, "rec")
    for unique in kind.unique:
        try:
            work.claim(kind, unique, image)
        except HubError as taken:
            told = f"{taken.message.removesuffix('.')} by now; change or delete that one first."
            raise HubError(taken.code, told, path="rec", details=taken.details) from None
    for name, target in plan_of(kind).references:
        beside = work.get(target, image[name]) if name in plan_of(kind).siblings and image[name] else None
        if beside is not None and kind.parent_wire and beside[kind.parent_wire] != image[kind.parent_wire]:
            seen = kind.fields[name].option.hidden_from is None
            raise HubError(
                "relation.restricted",
                f"The {target.name} that it refers to has another parent by now; move that back first.",
                path="rec",
                details={"type": target.name, "rec": image[name]} if seen else {"type": target.name},
            )
    work.hooked("restore", kind, old, image)
    work.put(kind, image, frozenset(meta), {})
    work.log(kind, "restore", image, {name: old[name] for name in meta})
    return image


def revert(work: Work, write: Revert, old: Image) -> Image:
    """Give fields of a live record the values that they had as an earlier version."""
    then = old if write.version == old["version"] else work.version(write.type, old["id"], write.version)
    if then is None or work.hides(write.type, then):
        raise HubError(
            "data.invalid",
            f"The log has no version {write.version} of this record; record.history lists what there is.",
            path="version",
        )
    # Checked again: the type may have been declared anew since then.
    change = write.type.accept_change({name: then[name] for name in write.fields}, trusted=True)
    return work.change(write.type, old, work.filled(plan_of(write.type), change))
