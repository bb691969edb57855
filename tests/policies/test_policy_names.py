"""Tests the names of the built-in policies, their levels and budgets, and the errors of every place that takes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.refusals import refused

from generals_env.bridge.match.program import program_arguments
from generals_env.bridge.pack import pack_agent
from generals_env.engine.policies.codes import EXPANDER, HUNTER, PLANNER, RANDOM, budget_of, level_of, policy_of
from generals_env.errors import ConfigError
from generals_env.live import load_live_policy
from generals_env.opponents import POLICIES, POLICY_NAMES, as_policy, is_builtin, policy_code, remembers
from generals_env.play.agents import make_agent
from generals_env.recorders.datasets.environment_spec import learner_of
from generals_env.wrappers import Opponent

UNKNOWN = [
    "",
    "greedy",
    "hunter:",
    "hunter:hard",
    "expander:easy",
    "planner:",
    "planner:0",
    "planner:5s",
    "planner:-1",
    "Hunter",
]


def test_policies_have_the_codes_of_the_engine() -> None:
    assert [policy_code(name) for name in POLICIES] == [RANDOM, EXPANDER, HUNTER, PLANNER]
    assert [remembers(name) for name in POLICIES] == [False, False, True, True]


@pytest.mark.parametrize(("name", "level"), [("hunter", 0), ("hunter:medium", 1), ("hunter:easy", 2)])
def test_levels_are_part_of_the_code(name: str, level: int) -> None:
    assert (policy_of(policy_code(name)), level_of(policy_code(name))) == (HUNTER, level)


@pytest.mark.parametrize(
    ("name", "budget"),
    [("planner", None), ("planner:200", (200, False)), ("planner:50ms", (50, True)), ("planner:1000000", (10**6, False))],
)
def test_budgets_are_part_of_the_code(name: str, budget: tuple[int, bool] | None) -> None:
    assert (policy_of(policy_code(name)), budget_of(policy_code(name))) == (PLANNER, budget)


@pytest.mark.parametrize("name", [*UNKNOWN, "planner:1000001", "planner:" + "9" * 5000])
def test_unknown_policies_are_refused_with_all_names(name: str) -> None:
    with refused(ConfigError, f"policy: expected one of {POLICY_NAMES}, got "):
        policy_code(name)


def test_names_of_error_messages_are_valid() -> None:
    assert all(is_builtin(name) for name in POLICY_NAMES.split(", "))


@pytest.mark.parametrize(
    "takes",
    [as_policy, Opponent, load_live_policy, lambda name: make_agent(name, 18)],
    ids=["as_policy", "Opponent", "live", "play"],
)
def test_unknown_levels_are_no_modules(takes: Callable[[str], Any]) -> None:
    with refused(ConfigError, f"policy: expected one of {POLICY_NAMES}, got 'hunter:hard'"):
        takes("hunter:hard")


def test_recorded_names_become_opponents_only_if_they_are_valid() -> None:
    assert learner_of([None, "hunter:easy"], 2) == {"opponent": "hunter:easy"}
    assert learner_of([None, "hunter:old"], 2) == {}
    assert learner_of([None, "mine"], 2) == {}


def test_programs_of_builtin_policies_are_found() -> None:
    assert program_arguments("builtin:hunter:easy")[-2:] == ["--policy", "hunter:easy"]
    names = "builtin:random, builtin:expander, builtin:hunter, builtin:planner, builtin:trained"
    with refused(ConfigError, f"command: expected one of {names}, got"):
        program_arguments("builtin:greedy")


def test_policies_with_kernels_are_not_packed(tmp_path: Path) -> None:
    with refused(ConfigError, "agent: expected a policy that numpy alone can play, got 'hunter'"):
        pack_agent("hunter", tmp_path / "agent.zip")
    assert not list(tmp_path.iterdir())
