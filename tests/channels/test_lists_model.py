"""Whatever people, instances and Redis do: in the end every instance shows who is there, in virtual time.

`AETHER_PROOF` multiplies the number of steps: at 100 they are more than 100,000. The controls must show differences.
"""

from __future__ import annotations

from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.channels.crowds import Crowd
from tests.proofs.figures import SCALE, report

STEPS: Final = (
    *("open",) * 4, *("join",) * 3, *("update",) * 3, "stand", "leave", "quit", *("cut",) * 2, *("back",) * 4,
    *("wait",) * 4, "kill", *("lose",) * 2, "part", "redis_dies", "flush",
)  # fmt: skip
PLAYS: Final = 25 * SCALE
LENGTH: Final = 60

done = {"steps": 0, "plays": 0}


def play(crowd: Crowd, steps: list[tuple[str, int]]) -> list[str]:
    """Play steps, let everything be well again, and return the differences."""
    for name, n in steps:
        getattr(crowd, name)(n)
        crowd.steps += 1
    crowd.settle()
    return crowd.faults()


@settings(
    max_examples=PLAYS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10_000)), min_size=LENGTH // 2, max_size=LENGTH))
def test_every_instance_shows_who_is_there_whatever_happened(steps: list[tuple[str, int]]) -> None:
    crowd = Crowd()
    faults = play(crowd, steps)
    done["steps"] += crowd.steps
    done["plays"] += 1
    assert faults == []


def test_the_number_of_steps_is_said() -> None:
    report("presence model", f"{done['plays']} plays, {done['steps']} steps, 0 differences")
    assert done["steps"] >= LENGTH // 2 * PLAYS


@pytest.mark.parametrize("control", ["numbers", "sweep"])
def test_without_what_keeps_it_right_the_same_check_finds_differences(control: str) -> None:
    random, found = Random(1), 0
    for _ in range(10):
        crowd = Crowd(control)
        found += bool(play(crowd, [(random.choice(STEPS), random.randrange(10_000)) for _ in range(LENGTH)]))
    report("presence model", f"control {control}: {found} of 10 plays with differences")
    assert found > 0


def test_a_thousand_cuts_within_the_grace_are_no_leave() -> None:
    """Sessions are cut all the time and come back at any of the instances: nobody is told that anybody left."""
    crowd, random, cuts = Crowd(), Random(2), 0
    for n in range(12):
        crowd.open(n)
        crowd.join(n + 1, crowd.sessions[-1])
    crowd.pass_time(2)
    while cuts < 1000:
        session = random.choice([session for session in crowd.sessions if session.at is not None])
        crowd._cut(session)
        cuts += 1
        crowd.pass_time(random.choice((0.25, 0.5, 5, 9)))
        crowd.back(crowd.sessions.index(session) + len(crowd.sessions) * random.randrange(20))
        crowd.pass_time(random.choice((0.25, 1)))
    assert [left for node in crowd.nodes for left in node.left] == []
    assert {happening.kind for happening in crowd.acts()} == {"join"}
    assert len({session.id for session in crowd.sessions}) == 12, "each is still the session that it was"
    assert max(session.move for session in crowd.sessions) > 20
    crowd.pass_time(2)
    assert crowd.faults() == []


def test_what_a_dead_instance_had_is_acted_on_once() -> None:
    crowd, random = Crowd(), Random(3)
    for _ in range(20):
        for n in range(random.randrange(1, 5)):
            crowd.open(random.randrange(10_000) + n)
        crowd.pass_time(3)
        victim = random.choice(crowd.alive())
        shown = {(s.id, channel) for s in crowd.sessions if s.at is victim for channel in s.rooms}
        for node in crowd.nodes:
            node.acted.clear()
        left = [len(node.left) for node in crowd.nodes]
        crowd.kill(crowd.alive().index(victim))
        crowd.pass_time(15)
        acts = crowd.acts()
        vanished = [(act.session, act.channel[1]) for act in acts if act.kind == "vanish"]
        assert sorted(vanished) == sorted(shown)
        leaves = [(act.channel[1], act.who.rec) for act in acts if act.kind == "leave"]
        assert len(leaves) == len(set(leaves))
        for node, count in zip(crowd.nodes, left, strict=False):
            if node.alive:
                assert sorted(node.left[count:]) == sorted(leaves)
        assert crowd.faults() == []
