"""The contests of the realtime rows, with the goals of the order (F1 to F3, R1, R2, M1, M2)."""

from __future__ import annotations

from functools import partial

from benchmarks import compressed, realtime, rooms
from benchmarks.contest import Against, Contest

SOCKETS = 2000


def contests(seconds: float) -> list[Contest]:
    """Return them; each side runs for `seconds` in each round."""
    one, many = {"window": 1, "seconds": seconds}, {"window": 32, "seconds": seconds}
    open_loop = {"rate": 1050, "seconds": seconds}
    sockets = rooms.crowd()
    idle = rooms.SHARE / (sockets / rooms.HEARTBEAT) * 1e6
    return [
        *_rooms(seconds),
        Contest(
            "idle-heartbeats",
            f"a heartbeat, one every {rooms.HEARTBEAT:.0f} s from each of {sockets:,} idle sockets, with all "
            f"that idling costs; {idle:.0f} µs are 1 % of a core",
            partial(rooms.hub_idle, seconds, sockets),
            (Against("npm ws", partial(rooms.ws_idle, seconds, sockets), None),),
            control=partial(rooms.ws_idle, seconds, sockets),
            most=idle,
        ),
        Contest(
            "f1",
            "a push to each of 1,000 watchers, one change at a time; the hub's is an update of a record, on disk",
            partial(realtime.hub_fan, **one),
            (
                Against("C floor", partial(realtime.floor_fan, **one), 0.70),
                Against("npm ws", partial(realtime.ws_fan, **one), 1.25),
                Against("socket.io", partial(realtime.socketio_fan, **one), 1.8),
                Against("starlette", partial(realtime.plain_fan, **one), 2.0),
                Against("Feathers", partial(realtime.feathers_fan, **one), 2.3),
                Against("python-socketio", partial(realtime.python_socketio_fan, **one), 5.0),
            ),
            control=partial(realtime.socketio_fan, **one),
        ),
        Contest(
            "f2",
            "the same with 32 changes outstanding",
            partial(realtime.hub_fan, **many),
            (
                Against("npm ws", partial(realtime.ws_fan, **many), 10),
                Against("NATS", partial(realtime.nats_fan, **many), 1.0),
                Against("C floor", partial(realtime.floor_fan, **many), None),
            ),
            control=partial(realtime.ws_fan, **many),
        ),
        Contest(
            "f3",
            "1,050 changes a second, whatever comes of them, to each of 1,000 watchers",
            partial(realtime.hub_fan, **open_loop),
            (),
            control=partial(realtime.ws_fan, **open_loop),
            least=1_000_000,
            most_p99=50,
        ),
        Contest(
            "f4",
            "a message of 2 KiB to each of 1,000, compressed",
            partial(compressed.hub_packed, seconds),
            (
                Against("npm ws", partial(compressed.ws_packed, seconds), 4),
                Against("uvicorn", partial(compressed.uvicorn_packed, seconds), 2),
            ),
            control=partial(compressed.uvicorn_packed, seconds),
        ),
        *(
            Contest(
                f"r{row}",
                f"session.beat, 100 connections × {depth}, beside npm ws that parses, checks and answers the same",
                partial(realtime.hub_beats, depth, seconds),
                (
                    Against("npm ws", partial(realtime.ws_beats, depth, seconds), goal),
                    Against("Feathers", partial(realtime.feathers_beats, depth, seconds), feathers),
                    Against("python-socketio", partial(realtime.python_socketio_beats, depth, seconds), None),
                ),
                control=partial(realtime.ws_beats, depth, seconds),
            )
            for row, depth, goal, feathers in ((1, 1, 1.2, 1.9), (2, 8, 2.5, None))
        ),
        *(
            Contest(
                f"get-{depth}",
                f"record.get of one in 1,000, 100 connections × {depth}, beside npm ws + better-sqlite3",
                partial(realtime.hub_gets, depth, seconds),
                (Against("npm ws", partial(realtime.ws_gets, depth, seconds), 1.2),),
                control=partial(realtime.ws_gets, depth, seconds),
            )
            for depth in (1, 8)
        ),
        Contest(
            "m1",
            "memory of an idle socket, the hub's with a session and three watches",
            partial(realtime.hub_open, SOCKETS, 3, settle=12.0),  # until the deadlines of the hellos are over
            (Against("npm ws", partial(realtime.ws_open, SOCKETS, settle=3.0), 1 / 0.6),),
            control=partial(realtime.ws_open, SOCKETS, settle=3.0),
            each=True,
            most=8,
        ),
        Contest(
            "m2",
            "accepting a socket",
            partial(realtime.hub_open, SOCKETS),
            (Against("npm ws", partial(realtime.ws_open, SOCKETS), 1 / 1.5),),
            control=partial(realtime.socketio_open, SOCKETS),
        ),
        Contest(
            "m2-session",
            "the same, the hub's with a hello and three watches",
            partial(realtime.hub_open, SOCKETS, 3),
            (Against("npm ws", partial(realtime.ws_open, SOCKETS), None),),
            control=partial(realtime.ws_open, SOCKETS),
        ),
    ]


def _rooms(seconds: float) -> list[Contest]:
    hub, peer = partial(rooms.hub_joins, seconds), partial(rooms.socketio_joins, seconds)
    return [
        Contest(
            "joins",
            f"to join one of {rooms.ROOMS} channels or to leave it, 100 connections × 8, beside rooms of socket.io",
            hub,
            (Against("socket.io", peer, 0.65),),
            control=partial(hub, shown=True),
        ),
        Contest(
            "joins-shown",
            "the same as a member with a state, whom few may see",
            partial(hub, shown=True),
            (Against("socket.io", peer, None),),
            control=peer,
        ),
        Contest(
            "joins-redis",
            "the same over Redis, 100 connections × 1, beside socket.io with its Redis adapter",
            partial(hub, depth=1, redis=True),
            (Against("socket.io", partial(peer, depth=1, redis=True), None),),
            control=peer,
        ),
        Contest(
            "channel-fanout",
            "channel.send to each of 1,000 in a channel, one message at a time, beside a room of socket.io",
            partial(rooms.hub_room, 1, seconds),
            (Against("socket.io", partial(rooms.socketio_room, 1, seconds), 1.3),),
            control=partial(rooms.socketio_room, 1, seconds),
        ),
        Contest(
            "channel-burst",
            "the same with 32 messages outstanding",
            partial(rooms.hub_room, 32, seconds),
            (Against("socket.io", partial(rooms.socketio_room, 32, seconds), 10),),
            control=partial(rooms.socketio_room, 32, seconds),
        ),
        Contest(
            "channel-redis",
            "the same over Redis, beside socket.io with its Redis adapter",
            partial(rooms.hub_room, 32, seconds, redis=True),
            (Against("socket.io", partial(rooms.socketio_room, 32, seconds, redis=True), 5),),
            control=partial(rooms.socketio_room, 32, seconds, redis=True),
        ),
    ]
