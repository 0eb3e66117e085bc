"""A reference peer: a separate process that speaks the documented protocol, for tests of the Python client.

It is no hub: it keeps one account in one JSON file, knows the type `note` and whatever ends in `_file`, matches a
watch by type and parent only, and can be told to misbehave. `POST /control` sets faults, `GET /control` returns what
it has seen. What it sends follows DESIGN.md section 4; frames by the sans-I/O core of `websockets`, HTTP by hand.

    python -m tests.clients.reference_peer PORT DIR
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tests.clients.reference_book import Book, Message, event_of

PIECE = 4 * 1024 * 1024
TOKEN = "good-token"
CODECS: dict[str, Any] = {"aether.v1.json": msgspec.json, "aether.v1.msgpack": msgspec.msgpack}


class Refusal(Exception):
    def __init__(self, code: str, message: str, status: int = 422, **more: Any) -> None:
        self.body = {"code": code, "message": message, **more}
        self.status = status


class Peer:
    """Everything that the sockets share, and the faults."""

    def __init__(self, folder: Path) -> None:
        self.book = Book(folder)
        self.sockets: set[Socket] = set()
        self.faults: Message = {}
        self.seen: Message = {"bytes": 0, "gets": [], "hellos": [], "ops": [], "beats": 0}

    def reset(self) -> None:
        """Forget everything, as if this were another peer."""
        for socket in list(self.sockets):
            socket.cut()
        self.sockets.clear()
        self.book.file.unlink(missing_ok=True)
        self.__init__(self.book.file.parent)  # type: ignore[misc]  # a peer has no other state

    def commit(self, before: Message | None, after: Message, origin: str, key: str | None) -> None:
        commit = self.book.write(before, after, origin, key)
        for socket in list(self.sockets):
            socket.tell(commit)

    def fault(self, name: str, default: Any = None) -> Any:
        return self.faults.get(name, default)

    def spend(self, name: str) -> bool:
        """Whether a fault that happens a number of times happens now."""
        left = self.faults.get(name, 0)
        self.faults[name] = max(0, left - 1)
        return bool(left > 0)

    def manifest(self, parent: Message) -> Message:
        files = []
        for record in self.book.of(f"{parent['type']}_file", parent):
            data = (self.book.blobs / record["sha256"]).read_bytes()
            pieces = [hashlib.sha256(data[at : at + PIECE]).hexdigest() for at in range(0, len(data), PIECE)]
            files.append({"path": record["name"], "sha256": record["sha256"], "size": len(data), "pieces": pieces})
        return {"revision": self.book.seq, "files": files + self.fault("more_files", [])}

    def put_record(self, kind: str, data: Message, parent: Message | None, origin: str, key: str | None) -> Message:
        after = {"id": secrets.token_urlsafe(8), "type": kind, "version": 1, "deleted_at": None, **data}
        if parent is not None:
            after[f"{parent['type']}_id"] = parent["rec"]
        self.commit(None, after, origin, key)
        return after

    def change(self, rec: str, data: Message, origin: str, key: str | None) -> Message:
        before = self.book.records.get(rec)
        if before is None or before["deleted_at"] is not None:
            raise Refusal("record.not_found", "There is no such record.", 404)
        after = {**before, **data, "version": before["version"] + 1}
        self.commit(before, after, origin, key)
        return after


class Socket:
    """One websocket."""

    def __init__(self, peer: Peer, writer: asyncio.StreamWriter, protocol: ServerProtocol) -> None:
        self.peer, self.writer, self.protocol = peer, writer, protocol
        self.codec = CODECS[str(protocol.subprotocol)]
        self.session = ""
        self.watches: dict[str, Message] = {}

    def send(self, message: Message | list[Message]) -> None:
        if self.protocol.state is not State.OPEN or self.peer.fault("silent"):
            return
        data = self.codec.encode(message)
        if self.codec is msgspec.json:
            self.protocol.send_text(data)
        else:
            self.protocol.send_binary(data)
        self.flush()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)
            else:
                self.writer.close()

    def close(self, code: int) -> None:
        self.protocol.send_close(code)
        self.flush()

    def cut(self) -> None:
        self.writer.transport.abort()

    def tell(self, commit: Message) -> None:
        for watch, query in self.watches.items():
            event = event_of(commit, query)
            if event is not None:
                push = {"op": "change", "watch": watch, "seq": commit["seq"], "origin": commit["origin"]}
                for _ in range(self.peer.fault("times", 1)):
                    self.send({**push, "events": [event]})

    def receive(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            if isinstance(frame, Frame) and frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                value = self.codec.decode(frame.data)
                for message in value if isinstance(value, list) else [value]:
                    self.answer(message)
        self.flush()

    def answer(self, message: Message) -> None:
        op, request = message["op"], message["id"]
        self.peer.seen["ops"].append(op)
        known = self.peer.book.keys.get(message.get("key") or "")
        try:
            if not self.session and op != "session.hello":
                raise Refusal("auth.required", "Say hello first.")
            data, seq = (known["data"], known["seq"]) if known else self.do(op, message)
        except Refusal as refusal:
            self.send({"op": "error", "id": request, **refusal.body})
            return
        if op.startswith("record.") and op != "record.find" and self.peer.spend("lose_answers"):
            self.cut()
            return
        self.send({"op": "ok", "id": request, "data": data} | ({} if seq is None else {"seq": seq}))
        for page in self.pages if op == "watch.start" else ():
            self.send(page)

    def do(self, op: str, m: Message) -> tuple[Any, int | None]:
        book, key = self.peer.book, m.get("key")
        if op == "session.hello":
            return self.hello(m), None
        if op == "session.beat":
            self.peer.seen["beats"] += 1
            return {"now": "", "seq": book.seq}, book.seq
        if op == "record.create":
            return self.peer.put_record(m["type"], m["data"], m.get("parent"), self.session, key), book.seq
        if op == "record.update":
            return self.peer.change(m["rec"], m["data"], self.session, key), book.seq
        if op == "record.delete":
            gone = self.peer.change(m["rec"], {"deleted_at": "2026-01-01T00:00:00.000Z"}, self.session, key)
            return {"rec": gone["id"], "version": gone["version"]}, book.seq
        if op == "record.find":
            found = book.of(m["type"], m.get("parent"))
            start = int(m.get("after") or 0)
            page = found[start : start + self.peer.fault("find_page", 1000)]
            more = {"next": str(start + len(page))} if start + len(page) < len(found) else {}
            return {"records": page, "seq": book.seq, **more}, book.seq
        if op == "manifest.get":
            if m["container"]["rec"] == "nobody":
                raise Refusal("record.not_found", "There is no such record.", 404)
            return self.peer.manifest(m["container"]), None
        if op == "watch.start":
            return self.watch(m), book.seq
        if op == "watch.stop":
            self.watches.pop(m["watch"], None)
            return None, None
        if op == "channel.join":
            me = {"kind": "user", "rec": "me", "name": "Me", "status": "active", "since": "", "sessions": []}
            return {"members": [me], "version": 0, "epoch": "e", "offset": 0, "recovered": False}, None
        if op in ("channel.leave", "presence.update"):
            return None, None
        raise Refusal("op.unknown", f"There is no operation {op}.")

    def hello(self, m: Message) -> Message:
        self.peer.seen["hellos"].append({k: v for k, v in m.items() if k != "id"})
        if m.get("token") != TOKEN:
            raise Refusal("auth.invalid", "The token is not valid here.")
        self.session = secrets.token_urlsafe(6)
        return {
            "session": self.session, "resume": secrets.token_urlsafe(6), "user": "u", "account": "main", "roles": [],
            "heartbeat": self.peer.fault("heartbeat", 20), "server": {"name": "reference peer"}, "now": "",
            "epoch": "1", "seq": self.peer.book.seq, "limits": {}, "features": [],
        }  # fmt: skip

    def watch(self, m: Message) -> Message:
        query: Message = {k: v for k, v in m.items() if k in ("type", "parent")}
        watch = hashlib.sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:12]
        since, seq = m.get("since"), self.peer.book.seq
        self.pages: list[Message] = []
        self.watches[watch] = query
        if since is not None and not self.peer.fault("no_resume"):
            missed = [(c, event_of(c, query)) for c in self.peer.book.log if c["seq"] > since["seq"]]
            events = [{"seq": c["seq"], "origin": c["origin"], "events": [e]} for c, e in missed if e is not None]
            return {"watch": watch, "mark": "m", "seq": seq, "resumed": True, "events": events}
        found, size = self.peer.book.of(m["type"], m.get("parent")), self.peer.fault("page", 1000)
        rest = [found[at : at + size] for at in range(size, len(found), size)]
        self.pages = [{"op": "snapshot", "watch": watch, "records": page} for page in rest]
        if self.pages:
            self.pages[-1]["last"] = True
        answer = {"watch": watch, "mark": "m", "seq": seq, "resumed": False, "records": found[:size]}
        return answer | ({"more": True} if rest else {}) | ({"why": "expired"} if since is not None else {})


async def _serve(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak HTTP until the connection ends or becomes a websocket."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        lines = head.decode("latin-1").split("\r\n")[1:-2]
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        if headers.get("upgrade", "").lower() == "websocket":
            await _websocket(peer, head, reader, writer)
            return
        body = b""
        if headers.get("content-length"):
            body = await reader.readexactly(int(headers["content-length"]))
        try:
            await _request(peer, method, target, headers, body, writer)
        except Refusal as refusal:
            _respond(writer, refusal.status, json.dumps({"op": "error", **refusal.body}).encode())
        await writer.drain()


async def _websocket(peer: Peer, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    protocol = ServerProtocol(subprotocols=[Subprotocol(name) for name in CODECS])
    protocol.receive_data(head)
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    writer.write(b"".join(protocol.data_to_send()))
    socket = Socket(peer, writer, protocol)
    peer.sockets.add(socket)
    try:
        if peer.fault("refuse"):
            socket.close(peer.fault("refuse"))
        while data := await reader.read(65536):
            socket.receive(data)
    finally:
        peer.sockets.discard(socket)


def _respond(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Message | None = None) -> None:
    fields = {"Content-Length": len(body), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body)


async def _request(
    peer: Peer, method: str, target: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
) -> None:
    url = urlsplit(target)
    if url.path == "/control":
        if method == "POST":
            asked = json.loads(body)
            if asked.pop("reset", False):
                peer.reset()
            if "delete" in asked:
                peer.change(asked.pop("delete"), {"deleted_at": "2026-01-01T00:00:00.000Z"}, "", None)
            peer.faults.update(asked)
            for socket in list(peer.sockets):
                if "push" in asked:
                    socket.send(asked["push"])
                if "close" in asked:
                    socket.close(asked["close"])
                if asked.get("cut"):
                    socket.cut()
        _respond(writer, 200, json.dumps({**peer.seen, "sockets": len(peer.sockets), "seq": peer.book.seq}).encode())
        return
    if headers.get("authorization") != f"Bearer {TOKEN}":
        raise Refusal("auth.required", "Sign in first.", 401)
    if method == "PUT" and url.path == "/files":
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if headers["repr-digest"] != f"sha-256=:{digest}:":
            raise Refusal("file.mismatch", "The bytes do not have the announced hash.", 422)
        sha256 = hashlib.sha256(body).hexdigest()
        (peer.book.blobs / sha256).write_bytes(body)
        parent = {"type": asked["type"], "rec": asked["rec"]}
        data = {"name": asked["name"], "sha256": sha256, "size": len(body), "content_type": headers.get("content-type")}
        same = [r for r in peer.book.of(f"{asked['type']}_file", parent) if r["name"] == asked["name"]]
        kind = f"{asked['type']}_file"
        record = peer.change(same[0]["id"], data, "", None) if same else peer.put_record(kind, data, parent, "", None)
        _respond(writer, 201, json.dumps(record).encode())
    elif url.path.startswith("/files/sha256/"):
        await _blob(peer, url.path.rpartition("/")[2], headers.get("range"), writer)
    else:
        raise Refusal("record.not_found", "There is nothing here.", 404)


async def _blob(peer: Peer, sha256: str, asked: str | None, writer: asyncio.StreamWriter) -> None:
    """Send bytes, at `rate` bytes a second where that is set, wrong where `wrong` says so."""
    peer.seen["gets"].append({"sha256": sha256, "range": asked})
    file = peer.book.blobs / sha256
    if peer.spend("busy"):
        raise Refusal("server.unavailable", "Come back.", 503, retry_after=0.1)
    if not file.exists() or sha256 in peer.fault("missing", []):
        raise Refusal("record.not_found", "There are no such bytes.", 404)
    data = bytearray(file.read_bytes())
    size = len(data)
    if asked is not None and not peer.fault("no_ranges"):
        first, last = (int(text) for text in asked.removeprefix("bytes=").split("-"))
        headers = {"Content-Range": f"bytes {first}-{last}/{size}"}
    else:
        first, last, headers = 0, size - 1, {}
    at = peer.fault("wrong_at")
    if at is not None and first <= at <= last and peer.spend("wrong"):
        data[at] ^= 1
    part = bytes(data[first : last + 1])
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Content-Length": len(part), **headers}.items())
    writer.write(f'HTTP/1.1 {206 if headers else 200} X\r\nETag: "{sha256}"\r\n{lines}\r\n'.encode())
    step = 64 * 1024
    for start in range(0, len(part), step):
        writer.write(part[start : start + step])
        await writer.drain()
        peer.seen["bytes"] += len(part[start : start + step])
        cut_after = peer.fault("cut_after")
        if cut_after is not None and start + step >= cut_after:
            writer.transport.abort()
            return
        if peer.fault("rate") and start % (4 * step) == 0:
            await asyncio.sleep(4 * step / peer.fault("rate"))


async def _main(port: int, folder: Path) -> None:
    peer = Peer(folder)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await _serve(peer, reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(int(sys.argv[1]), Path(os.fsdecode(sys.argv[2]))))
