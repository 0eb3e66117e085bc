"""A podium: launchers that show slides, and a controller that tells them what to do.

AETHER_TOKEN=… .venv/bin/python examples/podium.py launcher left
AETHER_TOKEN=… .venv/bin/python examples/podium.py control

Each launcher has an API key of its own. Who is there is a channel's roster; what they do are commands, which the hub
brings to a launcher wherever it is connected, and whose answers it brings back.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any

from aether_client import Client, HubError

CHANNEL = "group:podium"
COMMANDS = {"next": "SLIDE_NEXT", "previous": "SLIDE_PREVIOUS", "open": "OPEN_FILE", "identify": "IDENTIFY"}
HELP = "Say: who | next NAME | previous NAME | open NAME FILE [PAGE] | identify NAME | quit. NAME may be `all`."


async def launcher(hub: Client, name: str) -> None:
    """Show slides, and do what one is told."""
    screen: dict[str, Any] = {"launcher": name, "file": None, "page": 1}
    podium = hub.join(CHANNEL, dict(screen))

    async def show(**news: Any) -> dict[str, Any]:
        screen.update(news)
        print(f"[{name}] {screen['file'] or 'nothing'}, page {screen['page']}", flush=True)
        await podium.set_state(dict(screen))  # so that controllers see it, those too who come later
        return {"file": screen["file"], "page": screen["page"]}

    async def turn(by: int) -> dict[str, Any]:
        if screen["file"] is None:
            raise HubError("file.none", "No file is open.")
        return await show(page=max(1, screen["page"] + by))

    def identify(data: Mapping[str, Any], sender: Mapping[str, Any]) -> dict[str, Any]:
        print(f"[{name}] *** this is {name}, asked by {sender['name']} ***", flush=True)
        return {"launcher": name}

    hub.obey("OPEN_FILE", lambda data, sender: show(file=data["file"], page=data.get("page", 1)))
    hub.obey("SLIDE_NEXT", lambda data, sender: turn(+1))
    hub.obey("SLIDE_PREVIOUS", lambda data, sender: turn(-1))
    hub.obey("IDENTIFY", identify)
    heard = aiter(podium)
    await anext(heard)  # the roster: now everybody sees this launcher
    await show()
    async for _ in heard:  # until Ctrl-C
        pass


async def control(hub: Client) -> None:
    """Read what to do, a line at a time."""
    podium = hub.join(CHANNEL)  # without a state: a controller is not shown
    await anext(aiter(podium))  # the roster
    print(HELP, flush=True)
    while (line := await asyncio.to_thread(sys.stdin.readline)) not in ("", "quit\n"):
        word, *rest = line.split() or [""]
        there = {s["state"]["launcher"]: s for member in podium.members for s in member["sessions"]}
        if word == "who":
            for name, session in sorted(there.items()):
                print(f"{name}: {session['status']}, {session['state']['file'] or 'nothing'}", flush=True)
        elif word in COMMANDS and rest:
            data = {"file": rest[1], "page": int(rest[2]) if rest[2:] else 1} if word == "open" else {}
            called = sorted(there) if rest[0] == "all" else [rest[0]]
            await asyncio.gather(*(tell(hub, there, name, COMMANDS[word], data) for name in called))
        else:
            print(HELP, flush=True)


async def tell(hub: Client, there: Mapping[str, Any], name: str, command: str, data: Mapping[str, Any]) -> None:
    """Tell one launcher, and print what came of it."""
    if name not in there:
        return print(f"{name}: is not here", flush=True)
    try:
        answer = await hub.command({"session": there[name]["session"]}, command, data, timeout=5)
        print(f"{name}: {answer['data']}", flush=True)
    except HubError as error:
        print(f"{name}: {(error.details or {}).get('message', error)}", flush=True)


async def main() -> None:
    """Be one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8400")
    parser.add_argument("role", choices=["launcher", "control"])
    parser.add_argument("name", nargs="?", default="podium")
    given = parser.parse_args()
    async with Client(given.url, token=os.environ["AETHER_TOKEN"]) as hub:
        await (launcher(hub, given.name) if given.role == "launcher" else control(hub))


if __name__ == "__main__":
    asyncio.run(main())
