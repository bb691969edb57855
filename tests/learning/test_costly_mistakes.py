"""Mistakes that cost the authors of agents for this game days or a false result, and the test that finds each of them here."""

from __future__ import annotations

import re

import pytest
from support.paths import ROOT

#: What went wrong elsewhere, and the tests that would have found it: file below tests/, name.
MISTAKES = {
    "the last reward of an episode never reached the gradient, as automatic reset had overwritten the state": [
        ("learning/test_rollout_ends.py", "test_reward_of_a_won_game_is_that_of_its_last_action"),
        ("learning/test_rollout_ends.py", "test_collector_of_the_learner_gives_the_last_action_the_outcome"),
        ("learning/test_sanity.py", "test_lost_last_reward_is_detected"),
    ],
    "a game that was cut off was bootstrapped from the first state of the next one": [
        ("learning/test_rollout_ends.py", "test_cut_off_game_has_the_value_of_its_own_final_state"),
        ("learning/test_rollout_ends.py", "test_collector_values_the_final_state_of_a_cut_off_game"),
    ],
    "states were transformed after actions had been sampled, which biased the ratio": [
        ("learning/test_sanity.py", "test_ratio_is_one_before_the_first_step"),
        ("learning/test_sanity.py", "test_augmentation_after_sampling_is_detected"),
    ],
    "another network was evaluated than had been trained": [
        ("learning/test_learner_checkpoint.py", "test_another_network_than_was_trained_is_refused"),
        ("learning/test_sanity.py", "test_another_network_than_played_is_detected"),
        ("networks/test_policy_files.py", "test_network_is_loaded_as_it_was_saved"),
    ],
    "strength against random stayed at 98% while the rating rose by hundreds": [
        ("learning/test_training_ratings.py", "test_an_anchor_that_is_always_beaten_is_named"),
    ],
    "draws crept up in self-play": [
        ("learning/test_draw_watch.py", "test_draws_that_creep_up_are_warned_of"),
    ],
    "the best action of a policy that was trained to be sampled ran into loops": [
        ("agents/test_sampled_player.py", "test_most_probable_move_loops_where_draws_go_on"),
        ("agents/test_sampled_player.py", "test_draws_follow_the_probabilities_and_the_seed"),
    ],
    "ratings of pools that had never met were compared": [
        ("learning/test_training_ratings.py", "test_ratings_of_unconnected_pools_are_refused"),
        ("learning/test_training_ratings.py", "test_selves_of_two_trainings_are_never_one_player"),
    ],
    "36 games were read as a result": [
        ("learning/test_training_ratings.py", "test_few_games_give_no_verdict"),
    ],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_has_a_test_that_finds_it(mistake: str) -> None:
    for file, name in MISTAKES[mistake]:
        text = (ROOT / "tests" / file).read_text()
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), (file, name)
