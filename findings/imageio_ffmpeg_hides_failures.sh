#!/bin/sh
# imageio-ffmpeg 0.8.1: write_frames does not look at the exit status of ffmpeg. Where the disk is full at the end of a film, close()
# returns without an error, and the file that is left cannot be read. Here a limit on the size of files stands for the full disk.
# This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet imageio-ffmpeg==0.8.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/film.mp4" <<'PYTHON'
import resource, signal, sys

import imageio_ffmpeg
import numpy as np

path = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails instead
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
writer = imageio_ffmpeg.write_frames(path, (320, 320), fps=10)
writer.send(None)
rng = np.random.default_rng(0)
try:
    for _ in range(30):
        writer.send(rng.integers(0, 256, (320, 320, 3), np.uint8))
    writer.close()
except OSError as error:
    sys.exit(f"changed: a failed film raises {error!r:.200}")
try:
    next(imageio_ffmpeg.read_frames(path))
except OSError as error:
    assert "Invalid data" in str(error), error
    print("as seen: close() raised nothing, and the film cannot be read")
else:
    sys.exit("changed: the film can be read")
PYTHON
