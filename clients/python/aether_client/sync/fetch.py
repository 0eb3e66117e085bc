"""Bringing the missing bytes of one file from the hub into its partial download.

Asks for spans (RFC 9110 `Range`), writes them as they come and lets `pieces.py` judge each piece. Broken off at any
byte, it leaves a partial file from which the next try goes on.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

import httpx

from aether_client.http import Away, away, refusal
from aether_client.sync.disk import Disk
from aether_client.sync.manifest import Wanted
from aether_client.sync.partial import Partial
from aether_client.sync.pieces import Span
from aether_client.sync.report import human_bytes

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
SPARE_BYTES: Final = 1024 * 1024
"""What is left free on the disk, for the state and everybody else."""


class CannotFetch(Exception):
    """This file cannot be brought now; the others go on. Text is half a sentence that follows its name."""


class WrongBytes(CannotFetch):
    """The hub's bytes are not what their hash says."""


class DiskFull(CannotFetch):
    """There is no room."""


class Unwanted(Exception):
    """Nothing waits for these bytes any more."""


def is_full(error: OSError) -> bool:
    """Whether an error of the disk means that there is no room."""
    return error.errno in _FULL


def check_room(missing: int, free: int) -> None:
    """Raise `DiskFull` where `missing` bytes do not fit into `free`."""
    if missing + SPARE_BYTES > free:
        raise DiskFull(f"has no room: {human_bytes(missing)} are missing, {human_bytes(free)} are free on the disk")


async def fetch(
    http: httpx.AsyncClient,
    address: str,
    disk: Disk,
    partial: Partial,
    *,
    is_wanted: Callable[[], bool],
    moved: Callable[[int], None],
) -> None:
    """Bring what is missing; raise `Away`, `CannotFetch`, `Unwanted`, or `HubError` for a refused token."""
    file = partial.pieces.file
    while (span := partial.pieces.next_span()) is not None:
        if not is_wanted():
            raise Unwanted
        headers = {}
        if span != Span(0, file.size):
            headers["Range"] = f"bytes={span.start}-{span.end - 1}"
        try:
            async with http.stream("GET", f"/files/sha256/{file.sha256}", headers=headers) as response:
                place = await _start(response, file, span)
                place = await _receive(response, place, span, disk, partial, is_wanted, moved)
        except httpx.TransportError as error:
            raise away(error, address) from None
        if partial.pieces.is_hopeless:
            raise WrongBytes("came with wrong bytes from the hub several times and was not taken")
        if place < span.end:
            raise Away(f"The hub at {address} sent less than it announced.")


async def _start(response: httpx.Response, file: Wanted, span: Span) -> int:
    """Return the place of the first byte of an answer; raise where it has none for us."""
    status = response.status_code
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise WrongBytes("came encoded, and not as the bytes that were asked for")
    if status == 200:
        return 0
    if status == 206:
        announced = response.headers.get("Content-Range", "")
        if announced != f"bytes {span.start}-{span.end - 1}/{file.size}":
            raise WrongBytes(f"came with other bytes than those that were asked for ({announced!r})")
        return span.start
    error = await refusal(response)
    if error.is_about_identity:
        raise error
    if status in (403, 404, 410):
        raise CannotFetch(f"is not served by the hub: {error}")
    if status == 416:
        raise WrongBytes("has another size on the hub than its manifest says")
    if error.may_pass or status >= 500:
        raise Away(str(error), error.retry_after)
    raise CannotFetch(f"was refused by the hub: {error}")


async def _receive(
    response: httpx.Response,
    place: int,
    span: Span,
    disk: Disk,
    partial: Partial,
    is_wanted: Callable[[], bool],
    moved: Callable[[int], None],
) -> int:
    """Write what comes, from `place` on, as far as the span goes; return where it ended."""
    async for data in response.aiter_raw():
        if not is_wanted():
            raise Unwanted
        if place < span.start:  # the hub sent everything: pass over what is here already
            passed = min(len(data), span.start - place)
            data, place = data[passed:], place + passed
        data = data[: span.end - place]
        if data:
            try:
                await disk.write(partial.write, place, data)
            except OSError as error:
                if is_full(error):
                    raise DiskFull("has no room: the disk is full") from None
                raise
            place += len(data)
            moved(partial.pieces.here)
        if place >= span.end:
            break
    return place
