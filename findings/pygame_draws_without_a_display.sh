#!/bin/sh
# pygame 2.6.1 (SDL 2.28.4) on Linux: without a display, display.set_mode succeeds and draws into memory, with SDL's driver "offscreen",
# also where DISPLAY names a server that does not answer: pygame.error is not raised. A program that wants to know
# whether a window is seen must look at display.get_driver(). This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pygame==2.6.1
unset SDL_VIDEODRIVER WAYLAND_DISPLAY XDG_RUNTIME_DIR || true
DISPLAY=:4711 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import pygame

try:
    pygame.display.init()
    pygame.display.set_mode((100, 100))
except pygame.error as error:
    sys.exit(f"changed: pygame says that there is no display: {error}")
driver = pygame.display.get_driver()
if driver != "offscreen":
    sys.exit(f"changed: the driver is {driver}")
print("as seen: a window of 100x100 that no one sees, driver", driver)
PYTHON
