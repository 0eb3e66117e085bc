"""How many sockets may come from one address, what counts as one, and how many addresses are remembered."""

from __future__ import annotations

import pytest

from hub.edge.addresses import ADDRESSES, BURST_SECONDS, Addresses, place


def test_one_address_gets_its_rate_and_keeps_out_no_other() -> None:
    addresses = Addresses(2.0)
    burst = 2 * BURST_SECONDS
    assert [addresses.admit("10.0.0.1", 50.0) for _ in range(burst)] == [None] * burst
    told = [addresses.admit("10.0.0.1", 50.0) or 0.0 for _ in range(3)]
    assert told == [pytest.approx(0.5), pytest.approx(1.0), pytest.approx(1.5)]
    assert addresses.admit("10.0.0.2", 50.0) is None
    assert addresses.admit("10.0.0.1", 50.51) is None
    assert addresses.admit("10.0.0.1", 50.51) is not None


def test_without_a_rate_or_an_address_everybody_comes_in() -> None:
    assert {Addresses(0).admit("10.0.0.1", 1.0) for _ in range(1000)} == {None}
    assert {Addresses(0.1).admit(None, 1.0) for _ in range(1000)} == {None}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("no address", "another", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (place(one) == place(other)) is same


def test_so_many_addresses_are_remembered_and_the_one_unused_for_longest_is_forgotten() -> None:
    addresses = Addresses(0.1)  # one at once
    assert addresses.admit("first", 1.0) is None
    assert addresses.admit("second", 1.0) is None
    for n in range(ADDRESSES - 2):
        addresses.admit(f"{n}", 1.0)
    assert addresses.admit("first", 1.0) is not None
    assert addresses.admit("one more", 1.0) is None
    assert addresses.admit("first", 1.0) is not None, "it was used since"
    assert addresses.admit("second", 1.0) is None, "it was forgotten"
