"""Measures the Elo scales of the tasks, and the digests that pin their opponents: writes ``generals_env/arena/task_scales.py``.

Usage: ``python tools/measure_tasks.py [--games 1000] [--store FOLDER] [--digests] [TASK...]``

All opponents of a task play each other on maps of a seed of their own, and are rated with ``expander`` at 1000; those without a
rating are left out. The exit status is 1 if a rating has no limit on one side, as an opponent won all its games against weaker
ones: its number then says how many games were played, and the task needs an opponent between them. With ``--digests`` only the
digests are computed anew: right for a change that was meant to change no game, and as the last step of a change that raises a
task's version.
"""

from __future__ import annotations

import argparse
import pprint
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from generals_env.arena import task_scales
from generals_env.arena.evaluation import task_digests
from generals_env.arena.players import make_players
from generals_env.arena.statistics.intervals import compare
from generals_env.arena.statistics.ratings import rate
from generals_env.arena.store import Store
from generals_env.arena.tasks import RATED, TASKS, Task
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena

#: Seed of the maps on which the opponents are measured: others than those of the tasks.
SEED = 1000


def measured(task: Task, games: int, folder: Path | None) -> tuple[dict[str, float], list[str]]:
    """Return the ratings of the opponents of a task, and lines that say how they were measured."""
    options = ArenaOptions(config=task.config, games=games, seed=SEED)
    begun = time.perf_counter()
    with Store(folder) if folder is not None else nullcontext() as store:
        played = play_arena(
            pairs_of(make_players(RATED)),
            options,
            store,
            lambda pair, new: print(f"{task.name}: {pair[0].name} - {pair[1].name}, {len(new)} games", file=sys.stderr),
        )
    ratings = rate(played, anchor="expander")
    lines = [f"# {task.name}: {len(played):,} games, {games:,} a pair, seed {SEED}, {time.perf_counter() - begun:.0f} s"]
    for rating in ratings.players:
        value, low, high = rating.elo
        counts = f"{rating.wins}-{rating.draws}-{rating.losses}"
        lines.append(f"#   {rating.player}: {value:.1f} ({low:.1f} to {high:.1f}), {counts}")
    for place, one in enumerate(RATED):
        for two in RATED[place + 1 :]:
            pair = compare(played, two, one)
            lines.append(
                f"#   {two} against {one}: {pair.wins}-{pair.draws}-{pair.losses}, "
                f"won {100 * pair.win_rate.value:.1f}% ({100 * pair.win_rate.low:.1f} to {100 * pair.win_rate.high:.1f})"
            )
    lines += [f"# {task.name}: {note}" for note in ratings.notes]
    return {name: float(round(ratings[name].elo.value)) for name in RATED}, lines


def main() -> None:
    """Measure the given tasks, all by default, and write the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="default: all")
    parser.add_argument("--games", type=int, default=1000, help="games of each pair")
    parser.add_argument("--store", type=Path, help="folder that keeps the games, to go on after an interruption")
    parser.add_argument("--digests", action="store_true", help="compute the digests only")
    arguments = parser.parse_args()
    scales, digests, notes = dict(task_scales.SCALES), dict(task_scales.DIGESTS), []
    for name in arguments.tasks or TASKS:
        digests[name] = task_digests(TASKS[name])
        if not arguments.digests:
            scales[name], lines = measured(TASKS[name], arguments.games, arguments.store)
            notes += lines
    path = Path(task_scales.__file__)
    head = path.read_text().partition("SCALES:")[0]
    texts = [
        f"{label}: dict[str, dict[str, {kind}]] = {pprint.pformat(values, sort_dicts=False)}\n"
        for label, kind, values in (("SCALES", "float", scales), ("DIGESTS", "str", digests))
    ]
    path.write_text(head + "\n".join(texts))
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)
    print("\n".join(notes))
    if any("limit relative to" in note for note in notes):
        sys.exit(1)


if __name__ == "__main__":
    main()
