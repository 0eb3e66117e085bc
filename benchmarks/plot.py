"""Draw contests as bars, in SVG, with nothing but text: a bar for the median, a line for its 95 % interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.contest import Contest, Seen, cost, interval, ratios

WIDTH: Final = 760
LEFT: Final = 110
RIGHT: Final = 250
BAR: Final = 16
STEP: Final = 22
_COLOURS: Final = {"hub": "#0b6e4f", "C floor": "#b8b8b8"}
_PEER: Final = "#7a8ca3"
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#222}.t{font-weight:bold}.s{fill:#555}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.s{fill:#aaa}}"
)


def _bars(contest: Contest, sides: dict[str, Seen], top: int) -> tuple[list[str], int]:
    shown = {name: [cost(contest, r) for r in seen.readings] for name, seen in sides.items() if seen.readings}
    if not shown:
        return [], top
    unit = "KiB" if contest.each else "µs CPU"
    room = WIDTH - LEFT - RIGHT
    scale = room / max(interval(values)[1] for values in shown.values())
    parts = [f'<text class="t" x="0" y="{top + 14}">{escape(contest.name.upper())}</text>']
    parts.append(f'<text class="s" x="{LEFT}" y="{top + 14}">{escape(contest.what)}</text>')
    top += 24
    for name, values in shown.items():
        middle, (low, high) = statistics.median(values), interval(values)
        y = top + BAR / 2
        colour = _COLOURS.get(name, _PEER)
        note = f"{middle:.2f} {unit}"
        if name != "hub" and len(values) == len(shown.get("hub", ())):
            note += f" · hub {statistics.median(ratios(contest, sides['hub'], sides[name])):.2f}×"
        parts += [
            f'<text x="0" y="{top + 12}">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{middle * scale:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<path d="M{LEFT + low * scale:.1f} {y}H{LEFT + high * scale:.1f}" stroke="#d9534f" stroke-width="2"/>',
            f'<text x="{LEFT + high * scale + 6:.1f}" y="{top + 12}">{escape(note)}</text>',
        ]
        top += STEP
    return parts, top + 14


def drawn(held: Sequence[tuple[Contest, dict[str, Seen]]]) -> str:
    """Return the picture of contests and what their sides showed; shorter bars are better."""
    parts: list[str] = []
    top = 8
    for contest, sides in held:
        more, top = _bars(contest, sides, top)
        parts += more
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>", ""])
