"""Guesses of the planner agree with everything that its seat saw and with the public totals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.config import GameConfig
from generals_env.engine.boards import GENERAL, MOUNTAIN
from generals_env.engine.observations.tile_codes import FOG, SEEN_MOUNTAIN
from generals_env.engine.planner.particles import Particles
from generals_env.engine.planner.playouts import Lines
from generals_env.engine.planner.sight import Sight, sight_of
from generals_env.engine.policies.codes import EXPANDER
from generals_env.engine.simulation.batch import Batch
from generals_env.seeding import seed_states

GAMES, COUNT, TURNS = 2, 8, 150


def games(**options: object) -> Batch:
    """Return a batch of games that have begun."""
    config = GameConfig.from_options(**options)
    sizes, densities = config.map_parameters()
    batch = Batch(config.empty_boards(GAMES), config.reward.weights(), config.max_turns, sizes, densities)
    every = np.ones(GAMES, np.bool_)
    batch.seed(seed_states(3, GAMES, True)[0], every)
    batch.reset(every)
    return batch


def check(particles: Particles, sight: Sight, truth: npt.NDArray[np.int8]) -> tuple[int, int]:
    """Check every guess against a sight; return how many have the enemy's land and army exactly."""
    boards = particles.boards
    enemy = 1 - sight.player
    shown = sight.codes >= SEEN_MOUNTAIN
    assert (boards.owner[:, shown] == sight.owner[shown]).all()
    assert (boards.army[:, shown] == sight.army[shown]).all()
    assert (boards.terrain[:, shown] == truth[shown]).all()
    assert not (boards.owner[:, ~shown] == sight.player).any()
    fog = sight.codes == FOG
    assert (boards.owner[:, fog] > -2).all()
    assert (boards.terrain[:, fog] != MOUNTAIN).all()
    homes = boards.players["general"]
    assert (homes[:, sight.player] == sight.general).all()
    for b, home in enumerate(homes[:, enemy]):
        assert boards.terrain[b, home] == GENERAL
        assert boards.owner[b, home] == enemy
        assert shown[home] or particles.record.last[home] < 0 or (particles.record.kind[home] == GENERAL)
    held = particles.record.holder == enemy
    assert (boards.owner[:, held] == enemy).all()
    land = (boards.owner == enemy).sum(axis=1)
    army = np.where(boards.owner == enemy, boards.army, 0).sum(axis=1)
    assert (boards.army[boards.owner == enemy] >= 0).all()
    return int((land == sight.land[1]).sum()), int((army == sight.armies[1]).sum())


def test_guesses_agree_with_all_that_was_seen_and_the_totals() -> None:
    exact = np.zeros(2, np.int64)
    checks = 0
    for options in ({"height": 12, "width": 12}, {"rules": "competition"}):
        batch = games(**options)
        lines = Lines(batch.boards, COUNT, EXPANDER)
        planners: dict[tuple[int, int], Particles] = {}
        actions = np.zeros((GAMES, 2), np.int64)
        for _ in range(TURNS):
            for b in range(GAMES):
                player = b % 2
                if not batch.outcome.active[b].all():
                    continue
                sight = sight_of(batch.boards, batch.views.tile_codes[b, player], b, player)
                if (b, player) not in planners:
                    planners[b, player] = Particles(COUNT, sight, b, lines)
                else:
                    planners[b, player].advance(lines, player, int(actions[b, player]))
                planners[b, player].fit(lines, sight)
                exact += check(planners[b, player], sight, batch.boards.terrain[b])
                checks += COUNT
            batch.act(np.full(2, EXPANDER, np.int64))
            actions[:] = batch.outcome.actions
            batch.step()
    assert checks > 2000
    assert exact[0] == checks
    assert exact[1] == checks
