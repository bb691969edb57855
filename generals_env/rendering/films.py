"""Writes recorded games as films: MP4 by ffmpeg, and GIF."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.config import RENDER_FPS, is_number
from generals_env.errors import ConfigError, StorageError
from generals_env.rendering import gif
from generals_env.rendering.image import TILE_SIZE, draw_board
from generals_env.rendering.whole_file import whole_file
from generals_env.replay.recorded_game import RecordedGame

__all__ = ["GameFrames", "save_gif", "save_mp4"]

LAST_SECONDS = 2  # for which the end of a game stays

#: Constant quality of x264, 0 (no loss) to 51: numbers stay sharp.
QUALITY = 16

MAX_FPS = 240

OnFrame = Callable[[int], object]


class GameFrames(Sequence[npt.NDArray[np.uint8]]):
    """The pictures of a recorded game, each drawn when it is taken.

    Attributes:
        game: The game.
        turns: The turns that are drawn, (n,) int64.
    """

    def __init__(
        self,
        game: RecordedGame,
        player: int | None = None,
        tile_size: int = TILE_SIZE,
        *,
        scale: float = 1.0,
        arrows: bool = True,
        max_frames: int | None = None,
    ) -> None:
        """Draw nothing yet.

        Args:
            game: The game, with T turns.
            player: Player whose view to draw; None for the whole board.
            tile_size: Pixels a tile.
            scale: Factor of ``tile_size``.
            arrows: Whether to draw the moves of each turn on the board before it.
            max_frames: Maximum of pictures: turns are skipped evenly, the first and the last are kept. None draws all T + 1.

        Raises:
            ConfigError: If the game has no such player, or ``max_frames`` is not a positive integer.
        """
        if player is not None:
            check_integer("player", player, 0, game.players - 1)
        count = game.turns + 1
        if max_frames is not None:
            count = min(count, check_integer("max_frames", max_frames, 1, 2**31 - 1))
        self.game = game
        self.turns = np.round(np.linspace(0 if count > 1 else game.turns, game.turns, count)).astype(np.int64)
        self._player, self._tile_size, self._scale, self._arrows = player, tile_size, scale, arrows

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.turns)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:  # type: ignore[override]  # slices would hold many pictures
        """Return a picture, (height, width, 3) uint8."""
        turn = int(self.turns[index])
        moves = self.game.actions[turn] if self._arrows and turn < self.game.turns else None
        return draw_board(
            self.game.boards, turn, self._player, self._tile_size, scale=self._scale, moves=moves, names=self.game.names
        )

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Draw one picture after another."""
        return (self[index] for index in range(len(self)))


def save_gif(
    game: RecordedGame,
    path: str | Path,
    *,
    player: int | None = None,
    tile_size: int = 24,
    scale: float = 1.0,
    milliseconds: int = 80,
    arrows: bool = False,
    max_frames: int | None = None,
    on_frame: OnFrame | None = None,
) -> None:
    """Write a recorded game as a GIF that repeats.

    Args:
        game: The game.
        path: File to write; it appears whole or not at all.
        player: Player whose view to draw; None for the whole board.
        tile_size: Pixels a tile.
        scale: Factor of ``tile_size``.
        milliseconds: Duration of a turn.
        arrows: Whether to draw the moves.
        max_frames: Maximum of pictures; turns between are skipped. None draws every turn.
        on_frame: Called after each picture with the number of pictures written.

    Raises:
        ConfigError: If an argument is invalid.
        StorageError: If the file cannot be written.
    """
    frames = GameFrames(game, player, tile_size, scale=scale, arrows=arrows, max_frames=max_frames)
    gif.save_gif(frames, path, milliseconds, on_frame)


def save_mp4(
    game: RecordedGame,
    path: str | Path,
    *,
    player: int | None = None,
    tile_size: int = TILE_SIZE,
    scale: float = 1.0,
    fps: float = RENDER_FPS,
    arrows: bool = True,
    max_frames: int | None = None,
    on_frame: OnFrame | None = None,
) -> None:
    """Write a recorded game as an MP4 (H.264) that browsers and players show.

    Pictures are drawn and encoded one after another. Needs ``pip install "generals_env[render]"``.

    Args:
        game: The game.
        path: File to write; it appears whole or not at all.
        player: Player whose view to draw; None for the whole board.
        tile_size: Pixels a tile.
        scale: Factor of ``tile_size``; 2 for large screens.
        fps: Turns a second.
        arrows: Whether to draw the moves.
        max_frames: Maximum of pictures; turns between are skipped. None draws every turn.
        on_frame: Called after each picture with the number of pictures written.

    Raises:
        ConfigError: If an argument is invalid.
        ImportError: Without imageio-ffmpeg.
        StorageError: If the file cannot be written.
    """
    if not is_number(fps) or not 0 < fps <= MAX_FPS:
        raise ConfigError(f"fps: expected a number above 0 and at most {MAX_FPS}, got {fps!r:.80}")
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ModuleNotFoundError as error:
        raise ImportError(f'save_mp4: expected imageio-ffmpeg, got {error}: pip install "generals_env[render]"') from None
    frames = GameFrames(game, player, tile_size, scale=scale, arrows=arrows, max_frames=max_frames)
    with whole_file(path) as unfinished, tempfile.TemporaryFile() as messages:
        height, width, _ = frames[0].shape
        command = [get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-video_size", f"{width}x{height}", "-framerate", f"{fps:.6f}", "-i", "-", "-an"]
        command += ["-c:v", "libx264", "-crf", str(QUALITY), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
        # ``file:`` in front: a name that looks like an option or a protocol stays a name.
        command += ["-f", "mp4", f"file:{unfinished}"]
        # S603: a fixed program, no shell.
        encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages)  # noqa: S603
        try:
            ended = feed(encoder, frames, max(round(LAST_SECONDS * fps), 1), on_frame)
        finally:
            encoder.kill()  # does nothing to a process that has ended
            encoder.wait()
            if encoder.stdin is not None:
                with suppress(OSError):  # of pixels that the encoder no longer took
                    encoder.stdin.close()
        if not ended or encoder.returncode:
            raise StorageError(
                f"path: expected a film that ffmpeg can write, got {str(path)!r} ({last_line(messages)}): pass another path"
            )


def feed(encoder: subprocess.Popen[bytes], frames: GameFrames, repeats: int, on_frame: OnFrame | None) -> bool:
    """Send all pictures, the last one repeatedly, and wait for the end; return False if the encoder ends before."""
    pipe = encoder.stdin
    if pipe is None:
        return False
    try:
        for number, frame in enumerate(frames, 1):
            for _ in range(repeats if number == len(frames) else 1):
                pipe.write(frame.data)
            if on_frame is not None:
                on_frame(number)
        pipe.close()
    except BrokenPipeError:
        return False
    encoder.wait()
    return True


def last_line(messages: IO[bytes]) -> str:
    """Return the last line that ffmpeg wrote."""
    messages.seek(0)
    lines = messages.read()[-2000:].decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it gave no reason"
