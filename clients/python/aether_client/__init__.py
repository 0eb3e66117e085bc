"""The Python client of Aether Hub: live requests, sets and channels over one socket, and a folder kept in sync.

`Client` is the way in. The command `aether` (package `aether_client.cli`) and the folder sync
(`aether_client.sync`) are built on it. Needs no part of the hub.
"""

from __future__ import annotations

from aether_client.address import Address, parse_address
from aether_client.backoff import Backoff
from aether_client.channel import Channel, ChannelGap, ChannelLock, ChannelMessage
from aether_client.client import Client
from aether_client.errors import AddressError, AetherError, HubError
from aether_client.feed import Feed, FeedBegun, FeedCommit
from aether_client.liveset import Change, LiveSet
from aether_client.locks import Lock
from aether_client.requests import Answer
from aether_client.roster import RosterChange
from aether_client.version import VERSION
from aether_client.watch import Watch

__all__ = [
    "VERSION",
    "Address",
    "AddressError",
    "AetherError",
    "Answer",
    "Backoff",
    "Change",
    "Channel",
    "ChannelGap",
    "ChannelLock",
    "ChannelMessage",
    "Client",
    "Feed",
    "FeedBegun",
    "FeedCommit",
    "HubError",
    "LiveSet",
    "Lock",
    "RosterChange",
    "Watch",
    "parse_address",
]
