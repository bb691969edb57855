"""Plays a few games through the AEC interface, records every transition, and reads the experience back.

Run it with ``python examples/quickstart.py``; ``--help`` shows the arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import generals_env
from generals_env.recorders import ExperienceRecorder, open_dataset
from generals_env.wrappers import Opponent


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    games: int = 3
    size: int = 12
    max_turns: int = 400
    seed: int = 0
    out: Path = Path("runs/quickstart")


def play(arguments: Arguments) -> None:
    """Play games between an expander and a random player, recorded."""
    env = generals_env.make(height=arguments.size, width=arguments.size, max_turns=arguments.max_turns)
    policies = {"player_0": Opponent("expander", arguments.seed), "player_1": Opponent("random", arguments.seed + 1)}
    with ExperienceRecorder(env, arguments.out) as recorder:
        for game in range(arguments.games):
            recorder.reset(seed=arguments.seed + game)
            for agent in recorder.agent_iter():
                observation, _, terminated, truncated, _ = recorder.last()
                action = None if terminated or truncated else policies[agent](observation)
                recorder.step(action)
            print(f"game {game}: winner {env.get_winner()} after {env.game.turn} turns")


def read(arguments: Arguments) -> None:
    """Read the experience back as a trainer would."""
    for batch in open_dataset(arguments.out):
        states, next_states = batch.states(), batch.next_states()
        masks = batch.action_masks()
        legal = masks[range(len(batch)), batch.action].all()
        print(f"{len(batch)} experiences of {len(batch.game_ids)} games: states {states.shape} {states.dtype},")
        print(f"  next states {next_states.shape}, masks {masks.shape}, every action legal: {legal},")
        print(f"  rewards {batch.reward.sum():+.1f} in all, {int(batch.terminated.sum())} players saw the end")


def main() -> None:
    """Play, then read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        default = field.default
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(default), default=default)
    arguments = Arguments(**vars(parser.parse_args()))
    play(arguments)
    read(arguments)


if __name__ == "__main__":
    main()
