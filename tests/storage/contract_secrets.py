"""The promise of `storage.base.Storage` as tests: secret fields are kept encrypted, and no read shows them."""

from __future__ import annotations

from typing import Any

import pytest

from hub.schema.writes import Delete
from hub.vault import Vault, new_key
from hub.wire.errors import HubError
from storage.known import place_of
from tests.storage.declared import VAULT, Use, box


def code(n: int) -> dict[str, Any]:
    """Return a secret that no other text contains."""
    return {"code": f"canary-{n}", "of": [n, None, True, "ß"]}


async def opened(use: Use, rec: str, account: str = "main") -> Any:
    """Return a secret as trusted code reads it."""
    text = await use.storage.secret(account, box, rec, "code")
    return None if text is None else VAULT.open(place_of(box, rec, "code"), text)


class SecretContract:
    """A part of the promise; `StorageContract` takes it in."""

    async def test_a_secret_is_kept_and_never_shown(self, use: Use) -> None:
        made = await use.create(box, name="a", code=code(1))
        assert "code" not in made
        assert await opened(use, made["id"]) == code(1)
        changed = (await use.update(box, made["id"], code=code(2))).results[0].image
        assert (changed["version"], await opened(use, made["id"])) == (2, code(2))
        await use.update(box, made["id"], note="n")
        assert await opened(use, made["id"]) == code(2), "other changes leave it alone"
        await use.commit(use.upsert(box, ("name",), name="a", code=code(3)))
        assert await opened(use, made["id"]) == code(3)
        history = await use.storage.history("main", box, made["id"], None, 10)
        shown = [await use.log(), use.told, await use.find(box, deleted=True), history]
        assert "canary" not in repr(shown)
        assert '"code"' not in repr(shown)
        await use.update(box, made["id"], code=None)
        assert await opened(use, made["id"]) is None

    async def test_a_secret_is_of_its_account_and_ends_with_its_record(self, use: Use) -> None:
        made = await use.create(box, name="a", code=code(1))
        await use.create(box, account="other", name="a", code=code(2))
        assert await opened(use, made["id"], "other") is None
        await use.delete(box, made["id"])
        assert await opened(use, made["id"]) is None
        assert len(await use.storage.sealed_rows(box, "", 10)) == 2, "what can be restored is still kept"
        await use.commit(Delete(box, made["id"], hard=True))
        assert len(await use.storage.sealed_rows(box, "", 10)) == 1

    async def test_secrets_are_sealed_anew_in_steps_and_only_where_nobody_was_quicker(self, use: Use) -> None:
        made = [await use.create(box, name=f"{n}", code=code(n) if n else None) for n in range(6)]
        told, seq = list(use.told), await use.seq()
        storage, newer = use.storage, Vault([new_key()])
        rows = await storage.sealed_rows(box, "", 2)
        assert [row.rec for row in rows] == [made[5]["id"], made[4]["id"]]
        rows += await storage.sealed_rows(box, rows[-1].place, 10)
        assert [row.rec for row in rows] == [one["id"] for one in made[:0:-1]]
        assert await storage.sealed_rows(box, rows[-1].place, 10) == []
        assert [row.rec for row in await storage.sealed_rows(box, "", 1, oldest=True)] == [made[1]["id"]]
        await use.update(box, made[5]["id"], code=code(9))
        anew = [(row, {"code": newer.seal(place_of(box, row.rec, "code"), code(0))}) for row in rows]
        assert await storage.reseal(box, anew) == 4
        assert await storage.reseal(box, anew) == 0
        assert await storage.reseal(box, []) == 0
        assert await opened(use, made[5]["id"]) == code(9)
        with pytest.raises(HubError, match=r"secret\.unreadable"):
            await opened(use, made[4]["id"])
        assert (use.told[: len(told)], await use.seq()) == (told, seq + 1), "it is no commit"
