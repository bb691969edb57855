"""Networks that play: the policy network of ``generals_env.learning``, its files, and its policy for batches of games."""
