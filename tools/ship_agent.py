"""Writes an agent that the package ships: ``python tools/ship_agent.py CHECKPOINT NAME --boards 8 8 --command "..."``.

The network becomes a file of weights in ``generals_env/agents/shipped_agents``, with how it was made, and its games against
built-in policies; the table in the README there is written anew. The agent plays under the name ``trained:NAME``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from rich.progress import Progress

from generals_env.agents import shipped
from generals_env.agents.weight_files import NetworkWeights, load_weights, weights_bytes
from generals_env.arena.game_kind import game_config
from generals_env.arena.players import make_player
from generals_env.arena.tournament import ArenaOptions, play_arena
from generals_env.networks.saved_players import load_network_weights

MAX_BYTES = 5 * 10**6

README = """# Agents of the package

Networks that were trained with `generals_env.learning`, as files that numpy alone plays. `{trained}` is `{trained}:{default}`.
`python tools/ship_agent.py` writes the files and this table; games are on maps of the seed 0, each from both seats.

"""


def main() -> None:
    """Write the file and the README."""
    parser = argparse.ArgumentParser(description="Writes an agent that the package ships.")
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a policy network")
    parser.add_argument("name", help="name of the agent, for example 8x8")
    parser.add_argument("--boards", type=int, nargs=2, required=True, metavar="SIDE", help="smallest and largest in training")
    parser.add_argument("--command", required=True, help="the command that trained it")
    parser.add_argument("--minutes", type=float, required=True, help="how long that took")
    parser.add_argument("--hardware", required=True, help="on what, for example: two Intel cores")
    parser.add_argument("--games", type=int, default=1000, help="games against each opponent, 1000 by default; 0 for none")
    parser.add_argument("--opponents", nargs="*", default=["random", "expander", "hunter"])
    arguments = parser.parse_args()
    network = load_network_weights(arguments.checkpoint)
    made: dict[str, Any] = {
        **network.made,
        "boards": sorted(arguments.boards),
        "command": arguments.command,
        "hardware": arguments.hardware,
        "minutes": arguments.minutes,
    }
    side = made["boards"][-1]
    path = shipped.FOLDER / f"{arguments.name}.npz"
    path.parent.mkdir(exist_ok=True)
    write(path, network, made)
    if arguments.games:
        made["results"] = play(str(path), side, arguments.opponents, arguments.games)
        write(path, network, made)
    (shipped.FOLDER / "README.md").write_text(readme())
    print(f"{path}: {path.stat().st_size:,} bytes")


def write(path: Path, network: NetworkWeights, made: dict[str, Any]) -> None:
    """Write the file of an agent."""
    data = weights_bytes(NetworkWeights(network.kind, network.weights, network.options, made, network.step))
    if len(data) > MAX_BYTES:
        raise SystemExit(f"checkpoint: expected at most {MAX_BYTES:,} bytes, got {len(data):,}")
    path.write_bytes(data)


def play(agent: str, side: int, opponents: list[str], games: int) -> list[dict[str, Any]]:
    """Return the results of the agent against built-in policies on boards of one size."""
    results = []
    player = make_player(agent)
    options = ArenaOptions(game_config(height=side, width=side, max_turns=500), games=games)
    with Progress() as bar:
        for name in opponents:
            task = bar.add_task(f"{side}x{side} against {name}", total=games)
            played = play_arena(
                [(player, make_player(name))], options, on_games=lambda _, new, task=task: bar.advance(task, len(new))
            )
            won = Counter(game.players[game.winner] if game.winner >= 0 else "" for game in played)
            results.append(
                {
                    "board": side,
                    "opponent": name,
                    "games": len(played),
                    "won": won[player.name],
                    "lost": won[name],
                    "neither": won[""],
                }
            )
    return results


def readme() -> str:
    """Return the README of the folder, with a row for each agent and opponent."""
    lines = [README.format(trained=shipped.TRAINED, default=shipped.DEFAULT)]
    for path in sorted(shipped.FOLDER.glob("*.npz")):
        network = load_weights(path)
        made = network.made
        lines.append(f"## {shipped.TRAINED}:{path.stem}\n\n")
        lines.append(f"{path.stat().st_size:,} bytes, {sum(array.size for array in network.weights.values()):,} parameters, ")
        lines.append(f"trained for {made['minutes']:g} minutes on {made['hardware']}:\n\n```sh\n{made['command']}\n```\n\n")
        if made.get("results"):
            lines.append(
                "| board | opponent | games | won | lost | drawn or cut off after 500 turns |\n|---|---|---|---|---|---|\n"
            )
        for one in made.get("results", ()):
            cells = (
                f"{one['board']}x{one['board']}",
                *(f"{one[key]}" for key in ("opponent", "games", "won", "lost", "neither")),
            )
            lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    main()
