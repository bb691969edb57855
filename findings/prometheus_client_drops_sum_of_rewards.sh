#!/bin/sh
# prometheus_client 0.26.0: a Histogram whose first bucket is below 0, as one of rewards has (-1, -0.9, ... 1), exports buckets
# and _count, but no _sum, in both text formats and without a warning. So the mean reward, rate(_sum) / rate(_count), which the Go
# client gives for the same buckets, has no data. With a first bucket of 0 the same observations, negative ones among them, have
# a _sum. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet prometheus_client==0.26.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from prometheus_client import CollectorRegistry, Histogram, generate_latest

registry = CollectorRegistry()
rewards = Histogram("rewards", "Rewards of a game.", buckets=[step / 10 for step in range(-10, 11)], registry=registry)
others = Histogram("others", "The same, without buckets below 0.", buckets=[step / 10 for step in range(11)], registry=registry)
for reward in (-1.0, -0.5, 0.5, 1.0):
    rewards.observe(reward)
    others.observe(reward)
text = generate_latest(registry).decode()
names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
assert {"rewards_bucket", "rewards_count", "others_count", "others_sum"} <= names, names
if "rewards_sum" in names:
    sys.exit("changed: a histogram with buckets below 0 has a sum now")
print("as seen: rewards_count without rewards_sum; others_sum is there")
PYTHON
