"""The channels of every account, whatever its packs are. docs/channels.md says what each word means."""

from __future__ import annotations

from hub.schema.channels import Channel

BROADCAST = Channel("broadcast", join="viewer", send="editor", presence=False, history=20, seconds=3600)
"""`broadcast:<any>`: what concerns everybody in the account, or with `to` one of them."""
GROUP = Channel("group", join="member", send="member", history=100, seconds=3600)
"""`group:<any>`: whoever has agreed on a name talks here."""
