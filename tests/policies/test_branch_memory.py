"""Tests that a branch copies what policies with a memory remember."""

from __future__ import annotations

import numpy as np
import pytest

import generals_env


@pytest.mark.parametrize("names", [["hunter", "hunter:easy"], ["planner:6", "hunter"]])
def test_branch_policies_with_memory_play_as_in_the_original(names: list[str]) -> None:
    planner = names[0].startswith("planner")
    venv = generals_env.make_vec(2, height=8, width=8, autoreset_mode="DISABLED", threads=1)
    venv.reset(seed=4)
    for _ in range(4 if planner else 30):
        venv.step(venv.act(names))
    branch = venv.branch(2)
    assert branch.batch.thinkers.keys() == venv.batch.thinkers.keys()
    for _ in range(3 if planner else 15):
        branch.step(branch.act(names))
    assert venv.boards().games["turn"].max() == (4 if planner else 30)
    for _ in range(3 if planner else 15):
        venv.step(venv.act(names))
    assert np.array_equal(branch.state(), np.repeat(venv.state(), 2, axis=0))
    again = venv.branch(2, reuse=branch)
    assert np.array_equal(again.act(names)[::2], venv.act(names))
    venv.play(1, ["expander", "random"])
    assert set(venv.branch(1, game=0).batch.thinkers) == set(venv.batch.thinkers)
