"""Arrays that hold recorded experience: rings, pools, segments, trees, sets."""
