"""Names the built-in policies, and converts the ``opponent`` argument of environments to a policy for batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.agents.shipped import is_shipped, shipped_player
from generals_env.engine.policies.codes import EXPANDER, GIVEN, HUNTER, MAX_BUDGET, PLANNER, budget_code, with_level
from generals_env.engine.simulation.thinker import Thinker
from generals_env.engine.simulation.thinkers import register_thinker
from generals_env.errors import ConfigError

__all__ = ["POLICIES", "POLICY_NAMES", "BatchPolicy", "as_policy", "is_builtin", "policy_code", "policy_codes", "remembers"]

#: Names of the policies built into the engine; the index is the code that the engine uses.
POLICIES = ("random", "expander", "hunter", "planner")

#: Levels of the hunter, weaker than ``"hunter"`` alone; the index is the level in its code, see ``engine.policies.codes``.
LEVELS = ("", "medium", "easy")

#: A number of playouts, or milliseconds: what the planner may use for a move.
BUDGET = re.compile(r"([1-9][0-9]{0,6})(ms)?")

#: The names as error messages and help texts list them; the planner takes any budget of these two forms.
POLICY_NAMES = "random, expander, hunter, hunter:medium, hunter:easy, planner, planner:200, planner:50ms"

#: Maps a dict of ``"observation"`` (n, C, H, W) and ``"action_mask"`` (n, A) to actions (n,).
BatchPolicy = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[np.integer[Any]]]


def is_builtin(name: Any) -> bool:
    """Return whether ``name`` stands for a built-in policy.

    Raises:
        ConfigError: If it begins like one, as ``hunter:``, and goes on with an unknown level or budget.
    """
    if not isinstance(name, str) or name.partition(":")[0] not in POLICIES:
        return False
    policy_code(name)
    return True


def policy_code(name: str) -> int:
    """Return the number by which the engine knows a built-in policy, see ``engine.policies.codes``.

    Args:
        name: ``"random"``, ``"expander"``, ``"hunter"``, ``"planner"``; a weaker hunter, ``"hunter:medium"`` or
            ``"hunter:easy"``; or a planner with a budget for each move, in playouts (``"planner:200"``) or milliseconds
            (``"planner:50ms"``).

    Raises:
        ConfigError: If there is no such policy.
    """
    policy, colon, level = name.partition(":")
    code = POLICIES.index(policy) if policy in POLICIES else GIVEN
    if code != GIVEN and not colon:
        return code
    if code == HUNTER and level in LEVELS[1:]:
        return with_level(HUNTER, LEVELS.index(level))
    if code == PLANNER and (budget := BUDGET.fullmatch(level)) and int(budget[1]) <= MAX_BUDGET:
        return budget_code(int(budget[1]), budget[2] is not None)
    raise ConfigError(f"policy: expected one of {POLICY_NAMES}, got {name!r:.200}")


def remembers(name: str) -> bool:
    """Return whether a built-in policy remembers what it saw in its game; errors as in ``policy_code``."""
    return policy_code(name) > EXPANDER


def policy_codes(names: Any, players: int) -> npt.NDArray[np.int64]:
    """Return the numbers of the policies of all players, (P,) int64.

    Raises:
        ConfigError: If ``names`` is not a list, tuple or array of one name a player, or there is no such policy.
    """
    listed = isinstance(names, (list, tuple, np.ndarray)) and len(names) == players
    try:
        if listed and all(isinstance(name, str) for name in names):
            return np.array([policy_code(name) for name in names], np.int64)
    except ConfigError:
        pass
    raise ConfigError(
        f"policies: expected one of {POLICY_NAMES} for each of {players} players, got {names!r:.200}: pass one name a player"
    )


def make_planner(batch: Any) -> Thinker:
    """Return the planner for the seats of a batch."""
    from generals_env.engine.planner.thinker import PlannerThinker

    return PlannerThinker(batch)


register_thinker(PLANNER, make_planner)


def as_policy(opponent: Any) -> BatchPolicy | str:
    """Return the name of a built-in policy as is, and any other opponent as a callable on batches.

    Args:
        opponent: A built-in name, see ``policy_code``; an agent of the package, ``"trained"``; a torch module that maps a dict
            of tensors to logits (n, actions), from which legal actions are sampled; a model with
            ``predict(observations, action_masks=...)`` as in sb3-contrib; or a callable on batches (``BatchPolicy``).

    Raises:
        ConfigError: If it is not one of these.
    """
    if is_builtin(opponent):
        name: str = opponent
        return name
    if is_shipped(opponent):
        return shipped_player(opponent)
    if is_torch_module(opponent):
        return TorchPolicy(opponent)
    if hasattr(opponent, "predict"):
        return ModelPolicy(opponent)
    if not callable(opponent):
        raise ConfigError(
            f"opponent: expected one of {POLICY_NAMES}, trained, a callable, a torch module or a model, got {opponent!r:.200}"
        )
    policy: BatchPolicy = opponent
    return policy


def is_torch_module(thing: Any) -> bool:
    """Return whether ``thing`` is a torch module, without importing torch."""
    return any(cls.__module__.startswith("torch.nn.") and cls.__name__ == "Module" for cls in type(thing).__mro__)


class TorchPolicy:
    """Samples legal actions from the logits of a torch module, with torch's global generator (``torch.manual_seed``)."""

    def __init__(self, module: Any) -> None:
        """Wrap a module that maps a dict of tensors to logits (n, actions)."""
        self.module = module

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.integer[Any]]:
        """Return (n,) actions."""
        import torch

        with torch.no_grad():
            logits, legal = self._logits(views)
            # Gumbel-max sampling needs no normalised probabilities. Illegal actions stay below all legal ones.
            noise = -torch.empty_like(logits).exponential_().clamp_min(1e-30).log()
            scores = torch.nan_to_num(logits + noise, nan=-1e30, neginf=-1e30)
            chosen = scores.masked_fill(~legal, -torch.inf).argmax(dim=1)
        actions: npt.NDArray[np.integer[Any]] = chosen.cpu().numpy()
        return actions

    def probabilities(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Return the probabilities (n, A) from which actions are sampled, for callers that draw themselves."""
        import torch

        with torch.no_grad():
            logits, legal = self._logits(views)
            kept = torch.nan_to_num(logits, nan=-1e30, neginf=-1e30).masked_fill(~legal, -torch.inf)
            shares: npt.NDArray[np.floating[Any]] = kept.softmax(dim=1).cpu().numpy()
        return shares

    def _logits(self, views: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return the module's logits (n, A) and which actions are legal, as tensors."""
        import torch

        device = next(self.module.parameters(), torch.empty(0)).device
        tensors = {name: torch.as_tensor(array, device=device) for name, array in views.items()}
        return self.module(tensors).float(), tensors["action_mask"] != 0


class ModelPolicy:
    """Chooses the actions that ``predict`` of a model of sb3-contrib returns."""

    def __init__(self, model: Any) -> None:
        """Wrap an object with ``predict(observations, action_masks=...)``."""
        self.model = model

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return (n,) actions."""
        return self.model.predict(dict(views), action_masks=views["action_mask"])[0]
