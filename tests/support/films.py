"""Reads films with ffmpeg."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from support.helpers import PATIENCE


class Film(NamedTuple):
    """A film: its images (n, height, width, 3) uint8, frames a second, and format of pixels."""

    frames: np.ndarray
    fps: float
    pixels: str


def read_film(path: Path) -> Film:
    """Return a film; skip the test without imageio-ffmpeg."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="films are read by its ffmpeg")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    stream = re.search(r"Video: h264.*?, (\w+)\(.*?, (\d+)x(\d+).*?, ([\d.]+) fps", done.stderr.decode())
    assert stream, done.stderr.decode()
    pixels, width, height, fps = stream.groups()
    return Film(np.frombuffer(done.stdout, np.uint8).reshape(-1, int(height), int(width), 3), float(fps), pixels)
