"""How many requests are taken of one socket, and of all sockets of one account: buckets that are filled over time.

Who wants more than is there is not refused but read later. A socket buys its requests ahead, in lumps, so that the
clock and the buckets are looked at once for many. A bucket may go below nothing: who took it there waits until what
they took is paid, behind those who did so before. So the sockets of an account come in turn, and other accounts notice
nothing. Pure: the clock is passed in.
"""

from __future__ import annotations

from typing import Final

AHEAD_SECONDS: Final = 2
"""How many seconds' worth of requests may come at once, after a rest."""
FORGOTTEN: Final = 1000
"""For how many new ones there is room after that."""
LUMP: Final = 64
"""How many requests a socket buys ahead, where there are as many."""
ACCOUNTS: Final = 10_000
"""How many accounts are remembered; more, and those are forgotten that have had a rest, or else the oldest."""
UNLIMITED: Final = 1 << 62


class Bucket:
    """Holds `rate` requests a second, and as many as are due in `AHEAD_SECONDS` at most."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._left = float(rate * AHEAD_SECONDS)
        self._at = now
        """As of when `_left` is right."""

    def left(self, now: float) -> float:
        """Return how many requests are in it; less than none where they were taken before they were there."""
        self._left = min(self._left + (now - self._at) * self._rate, self._rate * AHEAD_SECONDS)
        self._at = now
        return self._left

    def take(self, count: int, now: float) -> float:
        """Take requests; return in how many seconds they will have been there, 0 where they are."""
        self._left = self.left(now) - count
        return max(0.0, -self._left / self._rate)

    def rested(self, now: float) -> bool:
        """Whether it is full, as a new one is."""
        return self.left(now) >= self._rate * AHEAD_SECONDS


class Accounts:
    """The buckets of the accounts; a rate of 0 limits none."""

    def __init__(self, rate: int = 0) -> None:
        self.rate = rate
        self._buckets: dict[str, Bucket] = {}

    def bucket(self, account: str | None, now: float) -> Bucket | None:
        """Return the bucket of an account; None where there is no limit, or no account yet."""
        if account is None or not self.rate:
            return None
        found = self._buckets.get(account)
        if found is None:
            if len(self._buckets) >= ACCOUNTS:
                self._forget(now)
            found = self._buckets[account] = Bucket(self.rate, now)
        return found

    def refusal(self, account: str | None, now: float) -> float | None:
        """Take one request that cannot wait: return None, or else in how many seconds there is one, and take none."""
        bucket = self.bucket(account, now)
        if bucket is None or bucket.left(now) >= 1:
            if bucket is not None:
                bucket.take(1, now)
            return None
        return (1 - bucket.left(now)) / self.rate

    def _forget(self, now: float) -> None:
        self._buckets = {account: bucket for account, bucket in self._buckets.items() if not bucket.rested(now)}
        if len(self._buckets) > ACCOUNTS - FORGOTTEN:
            for account in list(self._buckets)[:FORGOTTEN]:
                del self._buckets[account]


class Budgets:
    """What sockets and accounts may send a second, on average; 0: all they can."""

    def __init__(self, per_socket: int = 0, per_account: int = 0) -> None:
        self.accounts = Accounts(per_account)
        self._per_socket = per_socket

    def purse(self, now: float) -> Purse | None:
        """Return what a new socket buys its requests from; None where nothing limits it."""
        if not self._per_socket and not self.accounts.rate:
            return None
        return Purse(self._per_socket, self.accounts, now)


class Purse:
    """What one socket buys its requests from: its own bucket, and that of its account."""

    __slots__ = ("_accounts", "_own")

    def __init__(self, rate: int, accounts: Accounts, now: float) -> None:
        self._own = Bucket(rate, now) if rate else None
        self._accounts = accounts

    def buy(self, owed: int, account: str | None, now: float) -> tuple[int, float]:
        """Pay for requests that came, and for a lump ahead where that is there.

        Return how many were paid for, and for how many seconds nothing is to be read.
        """
        buckets = [b for b in (self._own, self._accounts.bucket(account, now)) if b is not None]
        there = min([int(bucket.left(now)) for bucket in buckets], default=UNLIMITED)
        bought = max(owed, min(owed + LUMP, there))
        return bought, max([bucket.take(bought, now) for bucket in buckets], default=0.0)
