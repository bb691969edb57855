"""Tests ratings against simulated players of known strength and another library, and the guard of unconnected players."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.simulated_players import NAMES, played, simulated_table

from generals_env.arena.statistics.connected import check_connected, connected_groups
from generals_env.arena.statistics.game_table import GameTable
from generals_env.arena.statistics.intervals import ELO
from generals_env.arena.statistics.ratings import METHODS, Ratings, rate
from generals_env.errors import ConfigError

REPETITIONS = 500
MARGIN = 2.6 * math.sqrt(0.95 * 0.05 / REPETITIONS)  # of a share of 500 that should be 95%
STRENGTHS = (0.0, 0.8, 1.5, -0.6)
COUNTS = {
    ("expander", "hunter"): (10, 4, 50),
    ("hunter", "expander"): (52, 5, 7),
    ("hunter", "planner"): (20, 10, 31),
    ("planner", "hunter"): (36, 9, 19),
    ("planner", "expander"): (60, 2, 3),
}


@pytest.mark.parametrize(("method", "options"), [("elo", {"draw_share": 0.3}), ("davidson", {"log_draw": -1.0})])
def test_intervals_of_ratings_cover_the_truth(method: str, options: dict[str, float]) -> None:
    rng = np.random.default_rng(3)
    covered = np.zeros(5)
    errors = []
    for _ in range(REPETITIONS):
        found = rate(simulated_table(STRENGTHS, 60, rng, seat=0.3, **options), method=method)
        intervals = [found[name].elo for name in NAMES[1:]] + [found.difference("planner", "hunter"), found.seat]
        truth = [*(1000 + ELO * np.array(STRENGTHS[1:])), ELO * 0.7, ELO * 0.3]
        covered += [low <= true <= high for (_, low, high), true in zip(intervals, truth, strict=True)]
        errors.append([value - true for (value, _, _), true in zip(intervals, truth, strict=True)])
    assert (abs(covered / REPETITIONS - 0.95) < MARGIN + 0.005).all(), covered / REPETITIONS
    assert (abs(np.mean(errors, axis=0)) < 3).all()  # points of Elo


@pytest.mark.parametrize(("maps", "options"), [(100, {"suits_of_map": 2.5}), (15, {"seat_of_map": 1.0})])
def test_intervals_of_ratings_cover_the_truth_on_unequal_maps(maps: int, options: dict[str, float]) -> None:
    rng = np.random.default_rng(4)
    strengths = (0.0, 0.5)
    truth = rate(simulated_table(strengths, 400_000, rng, **options)).difference("hunter", "expander").value
    covered = 0
    for _ in range(REPETITIONS):
        estimate = rate(simulated_table(strengths, maps, rng, **options)).difference("hunter", "expander")
        covered += estimate.low <= truth <= estimate.high
    assert abs(covered / REPETITIONS - 0.95) < MARGIN + 0.005, covered / REPETITIONS


def test_ratings_agree_with_a_binomial_model_of_another_library() -> None:
    import statsmodels.api as sm  # takes 3 s, which each worker would spend when it collects tests

    table = simulated_table(STRENGTHS[:3], 400, np.random.default_rng(5), seat=0.3, seat_of_map=1.0, draw_share=0.2)
    found = rate(table)
    rows = np.zeros((len(table.results), 3))
    for column in (1, 2):
        rows[:, column - 1] = (table.first == column).astype(int) - (table.second == column)
    rows[:, 2] = 1
    model = sm.GLM(table.results / 2, rows, family=sm.families.Binomial())
    other = model.fit(cov_type="cluster", cov_kwds={"groups": table.maps, "use_correction": False})
    estimates = [found["hunter"].elo, found["planner"].elo, found.seat]
    assert [value for value, _, _ in estimates] == pytest.approx(ELO * other.params + [1000, 1000, 0], abs=0.5)
    assert [high - value for value, _, high in estimates] == pytest.approx(1.959964 * ELO * other.bse, rel=0.01)


def test_ratings_of_davidson_agree_with_a_log_linear_model() -> None:
    import statsmodels.api as sm  # takes 3 s, which each worker would spend when it collects tests

    table = GameTable.from_counts({key: tuple(1000 * n for n in three) for key, three in COUNTS.items()})  # type: ignore[misc]
    found = rate(table, method="davidson")
    rows, column, counts = [], ("hunter", "planner"), []
    for number, ((first, second), (wins, draws, losses)) in enumerate(COUNTS.items()):
        signed = [(first == name) - (second == name) for name in column] + [1]
        for half_points, count in ((1, wins), (0, draws), (-1, losses)):
            row = [0.5 * half_points * sign for sign in signed] + [half_points == 0]
            rows.append([*row, *(number == other for other in range(len(COUNTS)))])
            counts.append(1000 * count)
    other = sm.GLM(counts, np.array(rows, float), family=sm.families.Poisson()).fit()
    estimates = [found["hunter"].elo, found["planner"].elo, found.seat]
    assert [value for value, _, _ in estimates] == pytest.approx(ELO * other.params[:3] + [1000, 1000, 0], abs=0.05)
    assert found.fitted.log_draw == pytest.approx(other.params[3], abs=1e-3)


def test_expected_points_equal_the_points_of_the_games() -> None:
    counts = {key: tuple(100 * n for n in three) for key, three in COUNTS.items() if "expander" not in key}
    found = rate(GameTable.from_counts(counts))  # type: ignore[arg-type]
    points = (20 + 10 / 2 + 19 + 9 / 2) / (20 + 10 + 31 + 36 + 9 + 19)
    assert found.expected_score("hunter", "planner") == pytest.approx(points, abs=0.003)
    with_draws = rate(GameTable.from_counts(counts), method="davidson")  # type: ignore[arg-type]
    assert with_draws.expected_score("hunter", "planner") == pytest.approx(points, abs=0.003)


@given(st.randoms(use_true_random=False))
def test_ratings_do_not_depend_on_the_order_of_games(random: object) -> None:
    games = [played(*seats, result, number) for number, result in enumerate("1=01-1") for seats in (("a", "b"), ("b", "c"))]
    shuffled = list(games)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert summary(rate(shuffled)) == pytest.approx(summary(rate(games)), abs=1e-6)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")),
        st.tuples(*[st.sampled_from((0, 0, 1, 7, 10**6))] * 3),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(METHODS),
)
@example(counts={("a", "b"): (10**6, 0, 0), ("c", "a"): (0, 10**6, 0), ("a", "d"): (10**6, 7, 0)}, method="elo")
def test_ratings_of_any_results_are_finite_or_refused(counts: dict[tuple[str, str], tuple[int, int, int]], method: str) -> None:
    assume(any(map(sum, counts.values())))
    table = GameTable.from_counts(counts)
    if len(connected_groups(table)) > 1:
        with pytest.raises(ConfigError, match="groups without a game between them"):
            rate(table, method=method)
        return
    found = rate(table, method=method)
    for rating in found.players:
        assert rating.elo.low <= rating.elo.value <= rating.elo.high
        assert math.isfinite(rating.elo.value)
    assert sum(rating.wins for rating in found.players) == sum(rating.losses for rating in found.players)
    assert all(0 <= found.expected_score(found.anchor, name) <= 1 for name in found.table.players)
    json.dumps(found.to_dict(), allow_nan=False)


def summary(found: Ratings) -> list[float]:
    """Return all finite numbers of ratings, by name."""
    return [number for name in found.table.players for number in found[name].elo if math.isfinite(number)]


def test_anchor_has_the_given_rating_and_no_interval() -> None:
    table = GameTable.from_counts(COUNTS)
    found = rate(table, anchor="planner", anchor_elo=2000)
    assert found["planner"].elo == (2000, 2000, 2000)
    assert found.draw_rate == pytest.approx(30 / 318)
    assert found["hunter"].elo.value - 2000 == pytest.approx(-rate(table).difference("planner", "hunter").value)
    assert rate(table).anchor == "expander"
    assert rate(GameTable.from_counts({("a", "b"): (3, 1, 4), ("b", "c"): (2, 2, 2)})).anchor == "b"


def test_player_that_won_all_its_games_is_rated_by_their_number() -> None:
    few, many = (rate(GameTable.from_counts({("a", "b"): (n, 0, 0), ("b", "a"): (0, 0, n)}), anchor="b") for n in (10, 400))
    assert few["a"].elo.value + 400 < many["a"].elo.value
    for found in (few, many):
        assert found["a"].elo.high == math.inf
        assert found["a"].elo.low > 1000
        assert found.difference("b", "a").low == -math.inf
        assert any("no upper limit relative to b: a never lost" in note for note in found.notes)
        assert any("one virtual game, half won by each player" in note for note in found.notes)
        json.dumps(found.to_dict(), allow_nan=False)


def test_player_without_points_has_no_lower_limit_but_others_do() -> None:
    counts = COUNTS | {("random", "expander"): (0, 0, 100), ("expander", "random"): (100, 0, 0)}
    found, before = rate(GameTable.from_counts(counts)), rate(GameTable.from_counts(COUNTS))
    assert found["random"].elo.low == -math.inf
    assert found["random"].elo.high < 900
    assert tuple(found["hunter"].elo) == pytest.approx(tuple(before["hunter"].elo), abs=3)
    assert found.difference("hunter", "random").high == math.inf
    assert math.isfinite(found.difference("hunter", "planner").high)


@pytest.mark.parametrize("result", ["1", "0", "=", "-"])
def test_ratings_of_one_game_are_finite(result: str) -> None:
    found = rate([played("expander", "hunter", result)])
    assert all(math.isfinite(rating.elo.value) for rating in found.players)
    assert found["hunter"].games == 1
    assert any("one seat only" in note for note in found.notes)


def test_ratings_of_games_that_the_first_seat_always_won_are_equal() -> None:
    found = rate([played("a", "b", "1"), played("b", "a", "1"), played("a", "b", "1", 1), played("b", "a", "1", 1)])
    assert found["a"].elo.value == pytest.approx(found["b"].elo.value)
    assert found.seat.value > 200


def test_hundreds_of_players_are_rated() -> None:
    rng = np.random.default_rng(5)
    strengths = rng.normal(0, 1, 200)
    names = [f"player {number:03}" for number in range(200)]
    counts = {}
    for first in range(200):
        for second in rng.choice(np.delete(np.arange(200), first), 20, replace=False):
            wins = int(rng.binomial(10, 1 / (1 + math.exp(strengths[second] - strengths[first]))))
            counts[names[first], names[second]] = (wins, 0, 10 - wins)
    found = rate(GameTable.from_counts(counts))
    rated = np.array([found[name].elo.value for name in names]) / ELO
    assert np.corrcoef(rated, strengths)[0, 1] > 0.97


def test_guard_names_groups_and_the_games_to_play() -> None:
    games = [played("a", "b", "1"), played("c", "d", "="), played("d", "e", "0")]
    assert connected_groups(games) == [("c", "d", "e"), ("a", "b")]
    text = r"got 2 groups without a game between them: \('c', 'd', 'e'\); \('a', 'b'\): .* such as 'c' against 'a'"
    for refused in (lambda: rate(games), lambda: check_connected(games), lambda: check_connected(games, ["a", "e"])):
        with pytest.raises(ConfigError, match=text):
            refused()
    check_connected(games, ["c", "e"])
    check_connected([*games, played("b", "e", "0")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchor": "human"}, "anchor: expected a player with games, one of 'expander, hunter, planner', got 'human'"),
        ({"anchor_elo": math.inf}, "anchor_elo: expected a number from -1000000 to 1000000, got inf"),
        ({"anchor_elo": "1000"}, "anchor_elo: expected a number from .* got '1000'"),
        ({"method": "glicko"}, "method: expected one of elo, davidson, got 'glicko'"),
        ({"level": 2}, "level: expected a number between 0 and 1"),
    ],
)
def test_options_of_ratings_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rate(GameTable.from_counts(COUNTS), **options)  # type: ignore[arg-type]
