"""Tests ``generals-env arena`` on tiny boards, from the command line to its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command_line import run
from support.small_arenas import middle_of_a_game, played, small

from generals_env.arena.game_kind import kind_name
from generals_env.arena.store import Store
from generals_env.errors import ConfigError, StorageError
from generals_env.replay import files

TINY = ("--board", 8, "--max-turns", 160)
POLICY = "support.small_arenas:first_legal"


def printed(*arguments: object) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run("arena", *arguments, *TINY, "--json", "-"))
    return result


def test_arena_command_shows_results_ratings_and_diagnostics() -> None:
    text = run("arena", "random", "expander", POLICY, "--games", 6, *TINY)
    for part in ("18 games, 8x8, live, 160 turns", "score, %", "Elo, expander = 1000", "diagnostics", "18 new games"):
        assert part in text


def test_arena_command_prints_the_same_results_as_the_library() -> None:
    report = printed("random", "expander", "--games", 20, "--seed", 4)
    games = played(["random", "expander"], games=20, seed=4)
    wins = sum(game.winner >= 0 and game.players[game.winner] == "expander" for game in games)
    pair = report["pairs"][0]
    assert (report["schema"], report["games"], report["new_games"], report["board"]) == (1, 20, 20, "8x8, live, 160 turns")
    assert (pair["player"], pair["opponent"], pair["games"], pair["wins"]) == ("expander", "random", 20, wins)
    assert pair["win_rate"]["low"] < wins / 20 < pair["win_rate"]["high"]
    assert report["ratings"]["anchor"] == "expander"
    assert report["figures"]["expander"]["games"] == 20
    assert [player["kind"] for player in report["players"]] == ["builtin", "builtin"]
    assert report["sprt"] is None


def test_arena_command_adds_to_a_store_and_writes_a_page_with_replays(tmp_path: Path) -> None:
    store, page = tmp_path / "store", tmp_path / "page.html"
    run("arena", "random", "expander", "--games", 4, "--store", store, *TINY)
    with (store / "games.jsonl").open("ab") as file:
        file.write(b'{"version"')
    text = run("arena", "random", "expander", "--games", 8, "--store", store, "--html", page, "--replays", 2, *TINY)
    assert "dropped an unfinished last line of 10 bytes" in text
    assert "8 games, 8x8" in text
    assert "4 new games" in text
    games = Store(store).games("8x8, live, 160 turns")
    kept = [game for game in games if game.replay]
    assert 1 <= len(kept) <= 2
    for game in kept:
        record = files.load(store / game.replay)
        assert (record.names, record.turns) == (game.players, game.turns)
    assert "expander" in page.read_text()
    assert len(list((tmp_path / "page_replays").iterdir())) >= len(kept)
    report = json.loads(run("arena", "random", POLICY, "--games", 2, "--store", store, "--json", "-", *TINY))
    assert (report["games"], report["new_games"]) == (10, 2)
    assert len(report["ratings"]["players"]) == 3


def test_arena_command_stops_when_its_sequential_test_is_decided() -> None:
    report = printed("expander", "random", "--games", 2000, "--sprt", "0,100")
    test = report["sprt"]
    assert (test["player"], test["opponent"]) == ("expander", report["players"][1]["name"])
    assert test["accepted"] == "elo1"
    assert report["games"] == 2 * sum(test["counts"]) < 2000
    assert printed("expander", "random", "--games", 1000, "--sprt", "0,100", "--threads", 1)["games"] == report["games"]


def test_arena_command_plays_a_gauntlet_and_rates_only_connected_players(tmp_path: Path) -> None:
    report = printed("random", POLICY, "--against", "expander", "--games", 2)
    assert {(pair["player"], pair["opponent"]) for pair in report["pairs"]} == {
        ("expander", "random"),
        ("expander", report["players"][1]["name"]),
    }
    run("arena", "random", "expander", "--games", 2, "--store", tmp_path, *TINY)
    other = ("support.small_arenas:one_plane", POLICY)
    report = printed(*other, "--games", 2, "--store", tmp_path)
    assert (report["games"], report["ratings"]) == (4, None)
    text = run("arena", *other, "--games", 2, "--store", tmp_path, *TINY)
    assert "no games connect these groups of players: expander, random; support" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("random",), "players: expected at least two"),
        (("random", "expander", "--games", 3), "games: expected an even number"),
        (("random", "expander", "--height", 9), "board: expected either --board or"),
        (("random", "expander", "--replays", 2), "replays: expected a folder"),
        (("random", "expander", "--sprt", "5"), "sprt: expected two numbers"),
        (("random", "expander", "--sprt", "9,5"), "elo1: expected a number above"),
        (("random", "expander", POLICY, "--sprt", "0,5"), "sprt: expected two players, got 3 pairs"),
        (("random", "expander", "--rules", "v2"), "rules: expected 'live'"),
        (("random", "peer:", "--rules", "competition"), "expected peer:NAME"),
    ],
)
def test_arena_command_refuses_options_that_contradict(arguments: tuple[object, ...], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        run("arena", *arguments, *TINY)


def test_arena_command_plays_nothing_if_its_files_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "results"):
        for option in ("--json", "--html"):
            with pytest.raises(StorageError, match="path: expected a file that can be written"):
                run("arena", "random", "expander", "--games", 10**6, option, place, *TINY)


def test_kind_of_games_names_every_option_that_changes_a_game() -> None:
    kinds = [
        small(),
        small(height=9),
        small(height=(8, 9)),
        small(max_turns=100),
        small(rules="v13"),
        small(fog=False),
        small(mountain_density=0.2),
        small(modifiers=("torus",)),
        small(start=(3, 9)),
        small(start=(4, 9)),
        *(small(start=middle_of_a_game(seed)) for seed in range(2)),
        small(rules="competition"),
        small(rules="competition", touch_turn=20),
    ]
    names = [kind_name(config) for config in kinds]
    assert len(set(names)) == len(names)
    assert names[:3] == ["8x8, live, 160 turns", "9x8, live, 160 turns", "8-9x8, live, 160 turns"]
    assert kind_name(small(reward={"win_game": 2.0}, observation="full")) == names[0]
