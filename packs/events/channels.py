"""What is said around a conference. A namespace is added by a line here; docs/channels.md says what each word means."""

from __future__ import annotations

from hub import Channel
from packs.events.records import Event, EventSession

EVENT = Channel.of(Event, send="member", history=100, seconds=600)
"""`event:<id>`: who works on a programme talks here."""
SESSION = Channel.of(EventSession, send="member", history=20, seconds=86_400, last=1)
"""`event_session:<id>`: what is on stage; who comes late gets the last word."""
AUDIENCE = Channel("audience", join="viewer", send="editor", see="editor", history=50, seconds=86_400, last=5)
"""`audience:<any>`: announcements; who listens is seen by editors only."""
CURSORS = Channel("cursors", join="viewer", send="member", presence=False, named=False, message_bytes=1024)
"""`cursors:<any>`: where pointers are on something shared; worth nothing a moment later, so nothing is kept."""
