"""Tests the store of people's moves: what they saw, what is left out, and how players are held out."""

from __future__ import annotations

import numpy as np
import pytest
from support.paths import DATA
from support.people_games import hand_made, seen_by_environment, store_of

from generals_env.errors import ConfigError
from generals_env.learning.cloning import MoveStore, StoreOptions, games_of_batches, games_of_replays, hold_out
from generals_env.learning.cloning.people_games import SkippedGame, key_of, player_keys
from generals_env.recorders import open_dataset, record_replays

DUELS = ("duel", "duel_small", "duel_wide", "duel_tall", "duel_square")

#: Player 0 waits a turn with an army of 1, moves out at turn 3, and again at turn 5; player 1 moves once.
MOVES = [[0, 0, 1, 0, 3], [1, 19, 18, 0, 3], [0, 0, 5, 0, 5]]


@pytest.mark.parametrize("name", ["duel_small", "duel_wide"])
def test_entries_are_what_the_environment_shows_the_player(name: str) -> None:
    store = store_of(name)
    (group,) = store.groups
    turns = {turn: seen for turn, *seen in seen_by_environment(name, group.side)}
    every = np.arange(len(group))
    views = group.views(every, "full").expanded()
    for entry in every:
        turn = int(group.boards.entries["turn"][group.board[entry]])
        player = int(group.player[entry])
        tensors, masks, actions = turns[turn]
        assert np.array_equal(views["observation"][entry], tensors[player])
        assert np.array_equal(views["action_mask"][entry], masks[player])
        assert group.action[entry] == actions[player]
    assert len(every) > 100
    assert views["observation"][:, 8].any()  # there is fog


def test_passes_that_are_no_choice_are_left_out() -> None:
    game = hand_made("small", MOVES)
    store = MoveStore.of([game])
    (group,) = store.groups
    told = [(int(group.boards.entries["turn"][b]), int(p)) for b, p in zip(group.board, group.player, strict=True)]
    # Generals have armies of 1 until turn 2. Player 0 passes by choice in turns 2 and 4, player 1 in turn 2.
    assert told == [(2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (5, 0)]
    assert group.side == 5
    half = 4 * 25
    assert group.passing == 2 * half
    down, left, right = 1, 2, 3
    assert group.action.tolist() == [200, 200, 4 * 0 + right, 4 * (3 * 5 + 4) + left, 200, 4 * 0 + down]
    assert store.left_out["passes without a legal move"] == 4
    assert store.left_out["actions that are not legal here"] == 0
    assert len(game.batch) == len(store) + sum(store.left_out.values())


def test_a_board_is_two_bytes_a_tile() -> None:
    store = store_of("duel_square")
    boards = sum(len(group.boards.tiles) for group in store.groups)
    assert store.nbytes < 1.2 * boards * (2 * 14 * 14 + 20 + 2 * 20)


def test_winners_and_ranks_choose_whose_moves_are_kept() -> None:
    whole = store_of("duel_small")
    won = store_of("duel_small", winners_only=True)
    (game,) = won.games
    assert {int(player) for player in won.groups[0].player} == set(game.winners)
    assert 0 < len(won) < len(whole)
    assert (won.groups[0].outcome == 1).all()
    assert set(whole.groups[0].outcome) == {1, -1}
    ranked = MoveStore.of([hand_made("ranked", MOVES, stars=[50, 80])], StoreOptions(min_stars=70))
    assert set(ranked.groups[0].player) == {1}
    with pytest.raises(ConfigError, match="expected one or more with moves"):
        MoveStore.of([hand_made("unknown", MOVES)], StoreOptions(min_stars=70))


def test_an_unfinished_game_tells_no_outcome() -> None:
    store = MoveStore.of([hand_made("small", MOVES)])
    assert np.isnan(store.groups[0].outcome).all()
    assert store.groups[0].left.tolist() == [6, 6, 5, 5, 4, 3]


def test_games_are_grouped_by_size_and_players_and_read_once() -> None:
    found = list(
        games_of_replays([*(DATA / f"{name}.json.gz" for name in DUELS), DATA / "duel.json.gz", DATA / "three.json.gz"])
    )
    assert sum(isinstance(game, SkippedGame) for game in found) == 1
    store = MoveStore.of(found)
    assert [(group.side, group.boards.players.shape[1]) for group in store.groups] == [
        (7, 2),
        (12, 2),
        (14, 2),
        (14, 3),
        (17, 2),
        (19, 2),
    ]
    assert len(store.games) == 6
    duels = MoveStore.of(found, StoreOptions(players=2))
    assert len(duels.games) == 5
    assert duels.skipped == {"another number of players": 1, "id: expected each game once": 1}


def test_a_dataset_gives_the_moves_of_its_replays(tmp_path: object) -> None:
    files = [DATA / f"{name}.json.gz" for name in ("duel_small", "duel")]
    record_replays(files, f"{tmp_path}/people")
    one = MoveStore.of(games_of_replays(files))
    two = MoveStore.of(games_of_batches(open_dataset(f"{tmp_path}/people")))
    for group, other in zip(one.groups, two.groups, strict=True):
        for name in ("player", "action", "outcome", "left"):
            assert np.array_equal(getattr(group, name), getattr(other, name)), name
        every = np.arange(len(group))
        first, second = (part.views(every, "full").expanded() for part in (group, other))
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_names_stand_for_players_and_games_for_those_without() -> None:
    keys, named = player_keys(["Ann", "Bob"], "g1")
    assert named
    assert keys.tolist() == [key_of("player:Ann"), key_of("player:Bob")]
    assert player_keys(["Bob", "Ann"], "g2")[0].tolist() == keys.tolist()[::-1]
    for names in (["player_0", "player_1"], ["", "Anonymous"]):
        keys, named = player_keys(names, "g1")
        assert not named
        assert keys.tolist() == [key_of("game:g1")] * 2


def test_hold_out_separates_the_players_of_training_and_test() -> None:
    people = [f"person {k}" for k in range(12)]
    games = [hand_made(f"{a}-{b}", MOVES, [people[a], people[b]]) for a in range(12) for b in range(12) if a != b]
    store = MoveStore.of(games)
    split = hold_out(store, 0.3)
    (group,) = store.groups
    owner = np.array([store.games[g].keys[p] for g, p in zip(group.game, group.player, strict=True)])
    held = {int(key) for key in owner[split.held_out[0]]}
    assert held == {key_of(f"player:{name}") for name in people if key_of(f"player:{name}") < 0.3 * 2**64}
    assert 0 < len(held) < 12
    assert held.isdisjoint(owner[split.training[0]].tolist())
    # No board of a player who is held out is in the training: the games with one of them are left out.
    assert not set(group.game[split.training[0]]) & set(group.game[split.held_out[0]])
    both = sum(len(np.intersect1d(game.keys, list(held))) == 2 for game in store.games)
    one = sum(len(np.intersect1d(game.keys, list(held))) == 1 for game in store.games)
    assert both > 0
    mixed = [g for g, game in enumerate(store.games) if len(np.intersect1d(game.keys, list(held))) == 1]
    assert split.left_out == sum(int(owner[e] not in held) for e in np.flatnonzero(np.isin(group.game, mixed)))
    assert one == len(mixed)
    assert sum(map(len, (*split.training, *split.held_out))) + split.left_out == len(store)


def test_hold_out_is_the_same_for_every_set_of_games() -> None:
    names = [[f"a{k}", f"b{k}"] for k in range(30)]
    every = MoveStore.of([hand_made(f"g{k}", MOVES, pair) for k, pair in enumerate(names)])
    some = MoveStore.of([hand_made(f"h{k}", MOVES, names[k]) for k in reversed(range(0, 30, 2))])

    def held(store: MoveStore) -> set[int]:
        (group,), (own,) = store.groups, hold_out(store, 0.2).held_out
        return {int(store.games[group.game[e]].keys[group.player[e]]) for e in own}

    known = {int(key) for game in some.games for key in game.keys}
    assert held(some) == held(every) & known
    assert held(some)


def test_players_without_names_are_held_out_by_game() -> None:
    store = MoveStore.of([hand_made(f"g{k}", MOVES) for k in range(40)])
    split = hold_out(store, 0.25)
    (group,) = store.groups
    test = {int(g) for g in group.game[split.held_out[0]]}
    assert test == {g for g in range(40) if key_of(f"game:g{g}") < 0.25 * 2**64}
    assert 2 < len(test) < 25
    assert split.left_out == 0
    with pytest.raises(ConfigError, match="share: expected a number from 0 to 1"):
        hold_out(store, 1.5)
