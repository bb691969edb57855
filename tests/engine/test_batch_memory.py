"""What many games take of memory, and that it stays so."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.helpers import PATIENCE

import generals_env

#: In a process of its own: the peak of this one is another test's.
LONG_RUN = """
import resource
import generals_env

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

venv = generals_env.make_vec(500, height=10, width=10, max_turns=200)
venv.reset(seed=1)

def run(turns):
    games = venv.play(turns, ("random", "expander")).games
    for _ in range(250):  # games end, and their last observations are handed out
        _, _, terminated, truncated, _ = venv.step(venv.act(("expander", "random")))
        games += int((terminated | truncated).any(axis=1).sum())
    return games

games = run(1000)
before = peak()
games += run(20000)
print(games, peak() - before)
"""


def test_ten_million_turns_do_not_grow_in_memory() -> None:
    pytest.importorskip("resource", reason="the system does not tell a process's peak of memory")
    done = subprocess.run([sys.executable, "-c", LONG_RUN], capture_output=True, text=True, timeout=PATIENCE, check=True)
    games, growth = map(int, done.stdout.split())
    assert games > 50_000
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    assert growth * unit < 8 * 2**20


@pytest.mark.parametrize(
    ("size", "players", "layout"), [(10, 2, "standard"), (20, 2, "standard"), (20, 2, "full"), (23, 8, "standard")]
)
def test_a_game_takes_little_more_than_what_is_handed_out(size: int, players: int, layout: str) -> None:
    count = 16
    batch = generals_env.make_vec(count, height=size, width=size, players=players, observation=layout).batch
    outcome = batch.outcome
    given = (batch.views.observations, batch.views.masks, outcome.rewards, outcome.terminated, outcome.truncated)
    handed_out = sum(array.nbytes for array in given)
    held = [*batch.boards, *batch.sets, *batch.views, *batch.outcome, batch.rng, batch.policy_rng]
    assert sum(array.nbytes for array in held) <= 1.15 * handed_out + 4096 * count
