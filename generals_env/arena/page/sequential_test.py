"""Shows the course of a sequential test: the log likelihood ratio after each number of games, between its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from generals_env.arena.page.charts import course_chart
from generals_env.arena.page.markup import element, player_name
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.sprt import Sprt

__all__ = ["course_card"]

MAX_POINTS = 300  # of the curve


def course_card(test: Sprt, games: Sequence[PlayedGame], player: str) -> Element:
    """Return a card with the course of a test, played once more with its games.

    Args:
        test: A test with the hypotheses and errors to show; it is not changed.
        games: Games in the order in which they were played.
        player: Player that is tested; its games against others are taken.
    """
    fresh = Sprt(test.elo0, test.elo1, alpha=test.alpha, beta=test.beta, paired=test.paired)
    own = [game for game in games if game.players.count(player) == 1]
    step = max(1, -(-len(own) // MAX_POINTS))
    numbers, ratios = [0], [0.0]
    for begin in range(0, len(own), step):
        state = fresh.update_games(own[begin : begin + step], player)
        numbers.append(min(begin + step, len(own)))
        ratios.append(state.llr)
    state = fresh.state
    verdicts = {
        "elo1": f"accepted: at least {test.elo1:g} Elo better",
        "elo0": f"accepted: at most {test.elo0:g} Elo better",
        None: "not decided",
    }
    verdict = verdicts[state.accepted]
    label = f"Log likelihood ratio {state.llr:.2f} after {numbers[-1]:,} games, bounds {state.lower:.2f} and {state.upper:.2f}"
    label = label.replace("-", "\u2212")
    hint = f"{label}; false decisions of at most {100 * test.alpha:g}% and {100 * test.beta:g}%."
    return element(
        "section",
        element("h2", "Sequential test"),
        element("p", player_name(player), " ", verdict, ". ", hint, class_="hint inline-name"),
        course_chart(numbers, ratios, state.lower, state.upper, label),
        class_="card",
    )
