"""A real hub for the page: four people of account `main`, on a port and a folder that outlive every restart."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import httpx

from handlers import people
from hub import app
from hub.settings import load
from tests.clients.real_hub_harness import HubProcess, free_port
from tests.forked import aether

PROGRAMME: Final = Path(__file__).resolve().parents[2] / "examples/data/frab-camp2019.json"
STOP_SECONDS: Final = 20.0
_NO_KEPT_CONNECTIONS: Final = httpx.Limits(max_keepalive_connections=0)  # the hub at their other end is killed
EDITORS: Final = ("Ada Brandt", "Jonas Weber")
"""Who may edit in account `main`, beside its owner."""
VIEWER: Final = "Vera Lund"
"""Who may only read there."""


async def _make_people(data: Path) -> dict[str, str]:
    folder = app.DataFolder(data)
    folder.take()
    try:
        services = (parts := app.assemble(load({}, None, {"data": str(data)}), folder)).hub.services
        await parts.storage.start()
        try:
            await app.first_start(services)
            account = await people.find_account(services, "main")
            assert account is not None
            roles = {**dict.fromkeys(EDITORS, "editor"), VIEWER: "viewer"}
            made = [await people.create_user(services, account["id"], name, role) for name, role in roles.items()]
        finally:
            await parts.storage.close()
    finally:
        folder.release()
    return {user["name"]: user["id"] for user in made}


class PageHub(HubProcess):
    """`aether serve`, with the commands and requests that the tests of the page need."""

    def __init__(self, folder: Path) -> None:
        self.users = asyncio.run(_make_people(folder / "data"))
        """Ids by name."""
        self._http = httpx.Client(trust_env=False, verify=False, limits=_NO_KEPT_CONNECTIONS)
        super().__init__(folder)
        self.token = str(self._operate("api_key.issue", role="owner")["key"])
        """An API key of an owner: the third party."""

    # -- commands ------------------------------------------------------------------------------------

    def aether(self, *words: str) -> str:
        """Run a command beside the hub; return what it prints."""
        done = aether(*words, "--data", str(self.data))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def import_programme(self, file: Path = PROGRAMME) -> str:
        """Import a conference; return the summary."""
        return self.aether("import", "conference", str(file))

    def terminate(self) -> None:
        """Stop it as an operator does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_SECONDS) == 0, self.log.read_text()
        self.process = None

    def close(self) -> None:
        """End everything."""
        self.kill()
        self._http.close()

    def restart_after(self, op: str, **fields: Any) -> None:
        """Start it again at its address, after a request was run on its data elsewhere meanwhile."""
        address, self.port = self.port, free_port()
        self.start()
        self.rpc(op, **fields)
        self.kill()
        self.port = address
        self.start()

    def check_log(self) -> None:
        """Fail where the log holds a traceback."""
        log = self.log.read_text()
        assert "Traceback" not in log, log[-8000:]

    # -- requests ------------------------------------------------------------------------------------

    def rpc(self, op: str, **fields: Any) -> Any:
        """Ask the hub as the third party does; return the answer's data."""
        headers = {"authorization": f"Bearer {self.token}"}
        body = self._http.post(f"{self.url}/rpc", json={"op": op, "id": 1, **fields}, headers=headers).json()
        assert body["op"] == "ok", body
        return body["data"]

    def link(self, name: str) -> str:
        """Return a sign-in link of a person."""
        return f"{self.url}/#signin={self._operate('signin.link', account='main', user=self.users[name])['code']}"

    def make_account(self, name: str, title: str) -> None:
        """Make another account."""
        self._operate("account.create", name=name, title=title, owner="Owner")

    def invite(self, name: str, mail: str, account: str) -> str:
        """Return a link that lets somebody into an account."""
        return str(self._operate("invitation.create", account, name=name, email=mail)["link"])

    def remove(self, name: str, account: str) -> None:
        """Take somebody out of an account."""
        self._operate("user.remove", account, user=name)

    def opens(self, token: str) -> bool:
        """Say whether a token opens the hub."""
        request = {"op": "record.find", "id": 1, "type": "event"}
        answer = self._http.post(f"{self.url}/rpc", json=request, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code in {200, 401}, answer.text
        return answer.status_code == 200

    def _operate(self, action: str, at: str = "main", **args: Any) -> Any:
        """Call an action as the operator, in an account; return its result."""
        transport = httpx.HTTPTransport(uds=str(self.data / "hub.sock"), verify=False)
        with httpx.Client(transport=transport) as operator:
            request = {"op": "action.call", "id": 1, "action": action, "args": args}
            body = operator.post("http://hub/rpc", json=request, headers={"x-aether-account": at}).json()
        assert body["op"] == "ok", body
        return body["data"]

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return the talks by title."""
        found = self.rpc("record.find", type="event_session", limit=1000)["records"]
        return {record["title"]: record for record in found}

    def retitle(self, rec: str, title: str) -> None:
        """Change a title as the third party does."""
        self.rpc("record.update", type="event_session", rec=rec, data={"title": title})
