"""The offline path: a run writes a dataset, and later another process learns from it, with no server between them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.helpers import PATIENCE

RUN = """
import sys
import generals_env
from generals_env.recorders import DatasetWriter, ExperienceRecorder, ReplayBuffer
buffer = ReplayBuffer(4096)
sinks = [DatasetWriter(sys.argv[1], sys.argv[2]), buffer]
with ExperienceRecorder(generals_env.make_vec(16, height=6, width=6, max_turns=100), sinks) as env:
    env.reset(seed=1)
    env.play(150, ("expander", "random"))
assert len(buffer) == 4096
"""

LEARN = """
import sys
import torch
from generals_env.recorders import StreamDataset, open_dataset
torch.manual_seed(0)
torch.set_num_threads(1)
dataset = open_dataset(sys.argv[1]).filter(player_ids=[0])
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9 * 36, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8 * 36 + 1))
optimiser = torch.optim.Adam(model.parameters(), 3e-3)
stream, losses = StreamDataset(dataset, batch_size=64, shuffle_buffer=1000, seed=1), []
for epoch in range(6):
    stream.set_epoch(epoch)
    for batch in stream:
        logits = model(batch.states).masked_fill(batch.action_masks == 0, -1e9)
        loss = torch.nn.functional.cross_entropy(logits, batch.actions.long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
assert sum(losses[-20:]) < 0.7 * sum(losses[:20]), (losses[:20], losses[-20:])
print(len(losses))
"""


@pytest.mark.parametrize("form", ["npz", "parquet", "games"])
def test_a_model_learns_to_play_as_a_recorded_player_did(form: str, tmp_path: Path) -> None:
    for script, arguments in ((RUN, [form]), (LEARN, [])):
        command = [sys.executable, "-c", script, str(tmp_path / "run"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 6 * 20
