"""Defines ``ExperienceBatch``: experiences in columns, and the tensors, masks and batches derived from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.thread_pool import divided
from generals_env.engine.boards import COMPETITION_VERSION, Boards
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.packed.expand import expand_masks, expand_views
from generals_env.engine.packed.fog_memory import expand_memory
from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import unpack
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as
from generals_env.recorders.experience import collate, n_step, symmetry
from generals_env.recorders.experience.data import ExperienceData
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.stacked_frames import boards_of_frames, frames_back
from generals_env.recorders.experience.tensors import Tensors

if TYPE_CHECKING:
    from generals_env.recorders.experience.torch_tensors import TorchTensors

__all__ = ["EXPERIENCE", "ExperienceBatch"]

#: Dtypes of states.
FLOATS = (np.dtype(np.float32), np.dtype(np.float16))

MIN_VIEWS = 64  # observations per thread: waking a thread takes as long as some dozen of them

Floats = npt.NDArray[Any]
Index = npt.NDArray[np.int32]


@pickled_as("generals_env.recorders")
@dataclass(frozen=True, eq=False)
class ExperienceBatch(ExperienceData):
    """Experiences of one or more games, in columns.

    An experience is one turn of one player::

        turn t                                turn t+1
        boards[state_index[i]] --action[i]--> boards[next_state_index[i]]
                 |                                     |
            states()[i]    reward[i], terminated[i]   next_states()[i]
            action_masks()[i]    truncated[i]         next_action_masks()[i]

    Boards are stored once, packed, for all players and for both ends of a turn; tensors and masks are derived from them on
    request, bit for bit as the environment gave them. Where a game is interrupted (a surrender, a restored state, the start of
    a batch) the board before the turn is stored again. Applying the actions of all players of a turn to its board in the
    engine gives the next board. In a game that was played to its end every player has exactly one experience with
    ``terminated`` or ``truncated``, and no experience after it. Boards of several sizes are stored in arrays of one shape, the
    smaller ones in the upper left corner with mountains around, and actions are indices of that shape. Games with the rules of
    the competition have more actions, so a batch has either only such games (``recipe.builds``) or none.

    After ``n_step`` an experience spans ``steps[i]`` turns instead of one.

    Attributes:
        game_ids: One string per game.
        rows: (n,) records of ``EXPERIENCE``; its fields are the columns below.
        boards: The packed boards; ``unpacked()`` returns them as the engine plays them.
        shape: H and W of the boards, padding included.
        recipe: How observations and rewards are derived from the boards.
        dense: The observations as arrays, if custom wrappers made them; None if they can be derived from the boards.
        metadata: JSON values from the recorder: package version, rules, reward, seed, policies.
    """

    # --- Tensors and masks ----------------------------------------------------------------------------------------

    def states(self, out: Floats | None = None, layout: str | None = None, dtype: npt.DTypeLike = np.float32) -> Floats:
        """Return the observation of each player before the action, (n, C, H, W) float32.

        Args:
            out: Array to write to, float32 or float16; None for a new one.
            layout: ``"standard"`` (C = 9) or ``"full"`` (C = 21) for that layout; None for the observations of the player: the
                layout of the environment as the package's own wrappers changed it, or the arrays that custom wrappers made.
            dtype: Of a new array: float32, or float16, which rounds by at most 2**-11 of a value (an army of 1 becomes
                0.0010004).

        Raises:
            ConfigError: If ``out`` has another shape or dtype, or is not contiguous, or if the layout is unknown.
        """
        return self._views(self.state_index, out, layout, dtype, after=False)

    def next_states(self, out: Floats | None = None, layout: str | None = None, dtype: npt.DTypeLike = np.float32) -> Floats:
        """Return the observation of each player after the turn; arguments and errors as in ``states``."""
        return self._views(self.next_state_index, out, layout, dtype, after=True)

    def action_masks(self, out: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.int8]:
        """Return the legal actions of each player before the turn, (n, A) int8; ``out`` and errors as in ``states``.

        A = 8*H*W + 1; with the rules of the competition 9*H*W + 1, see ``Recipe.builds``.
        """
        return self._masks(self.state_index, out)

    def next_action_masks(self, out: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.int8]:
        """Return the legal actions of each player after the turn, (n, A) int8; ``out`` and errors as in ``states``."""
        return self._masks(self.next_state_index, out)

    def tensors(self, out: Tensors | None = None, dtype: npt.DTypeLike = np.float32) -> Tensors:
        """Return states, masks and columns as the arrays of ``Tensors``.

        Args:
            out: Arrays to write to, made by ``Tensors.empty``; None for new ones.
            dtype: Of new states, float32 or float16; dense observations keep their own.

        Raises:
            ConfigError: If an array of ``out`` has another shape or dtype.
        """
        if out is None:
            kind = dtype if self.dense is None else self.dense.observations.dtype
            out = Tensors.empty(len(self), self.state_shape, self.shape, kind, builds=self.recipe.builds)
        self.states(out.states)
        self.next_states(out.next_states)
        self.action_masks(out.action_masks)
        self.next_action_masks(out.next_action_masks)
        columns: tuple[Floats, ...] = (self.action, self.rewards(), self.terminated, self.truncated, self.steps)
        arrays: tuple[Floats, ...] = (out.actions, out.rewards, out.terminated, out.truncated, out.steps)
        for array, column in zip(arrays, columns, strict=True):
            if array.shape != column.shape:
                raise ConfigError(f"out: expected columns of shape {column.shape}, got {array.shape}: use Tensors.empty")
            np.copyto(array, column)
        return out

    def to_torch(self, device: Any = "cpu") -> TorchTensors:
        """Return the arrays of ``tensors`` as torch tensors on ``device``, equal bit for bit.

        On a GPU the boards are uploaded and expanded there; on the CPU the engine's kernels do it, which are faster than torch.

        Args:
            device: A device of torch.

        Raises:
            ImportError: Without torch (``pip install "generals_env[torch]"``).
        """
        from generals_env.recorders.experience.torch_tensors import as_torch, expand_on

        return as_torch(self.tensors()) if str(device).startswith("cpu") else expand_on(self, device)

    def _views(self, index: Index, out: Floats | None, layout: str | None, dtype: npt.DTypeLike, after: bool) -> Floats:
        if layout is not None and layout not in tuple(LAYOUTS):
            raise ConfigError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
        if layout is None and self.dense is not None:
            shown = np.empty((len(self), *self.state_shape), self.dense.observations.dtype) if out is None else out
            self.dense.take(after, checked_out(shown, (len(self), *self.state_shape), (self.dense.observations.dtype,)))
            return shown
        recipe = self.recipe if layout is None else Recipe(layout)
        shape = (len(self), recipe.frames * recipe.channels, *self.shape)
        if np.dtype(dtype) not in FLOATS:
            raise ConfigError(f"dtype: expected float32 or float16, got {np.dtype(dtype)}")
        array = checked_out(out, shape, (np.dtype(dtype),) if out is None else FLOATS)
        if array.dtype == np.float16:  # kernels write float32 only
            for low in range(0, len(self), MIN_VIEWS):
                part = self.slice(low, low + MIN_VIEWS)
                array[low : low + MIN_VIEWS] = part._views(index[low : low + MIN_VIEWS], None, layout, np.float32, after)
            return array
        flat = array.reshape(*shape[:2], self.shape[0] * self.shape[1])
        boards_of = frames_back(self.boards.entries["previous"], index, recipe.frames, repeat_first=True)
        for frame, boards in zip(reversed(range(recipe.frames)), boards_of, strict=True):
            self._write_frame(np.ascontiguousarray(boards), recipe, frame * recipe.channels, flat)
        return array

    def _write_frame(self, index: Index, recipe: Recipe, first: int, flat: npt.NDArray[np.float32]) -> None:
        full, boards, player = recipe.layout == "full", self.boards, np.ascontiguousarray(self.player_id)
        height = self.shape[0]

        def write(low: int, high: int) -> None:
            expand_views(boards, index, player, height, low, high, full, first, flat)
            if recipe.memory:
                expand_memory(boards, index, player, low, high, full, first + len(LAYOUTS[recipe.layout]), flat)

        if recipe.memory and len(self) and not len(boards.memory):
            raise ConfigError("recipe: expected boards with the memory of the players, got none: record with FogMemory")
        divided(write, len(self), MIN_VIEWS)

    def _masks(self, index: Index, out: npt.NDArray[np.int8] | None) -> npt.NDArray[np.int8]:
        if ((self.boards.games["version"] == COMPETITION_VERSION) != self.recipe.builds).any():
            raise ConfigError(
                f"recipe: expected builds={not self.recipe.builds}, by the rules of the boards, got {self.recipe.builds}: "
                "set it to whether the rules are those of the competition, and keep games of other rules apart"
            )
        array = checked_out(out, (len(self), self.recipe.actions(self.shape)), (np.dtype(np.int8),))
        rows, player = np.ascontiguousarray(index), np.ascontiguousarray(self.player_id)
        write = partial(self._write_masks, rows, player, array)
        divided(write, len(self), 2 * MIN_VIEWS)
        return array

    def _write_masks(self, index: Index, player: npt.NDArray[np.int8], out: npt.NDArray[np.int8], low: int, high: int) -> None:
        expand_masks(self.boards, index, player, self.shape[0], low, high, out)

    # --- Selections and combinations ------------------------------------------------------------------------------

    def slice(self, low: int, high: int) -> ExperienceBatch:
        """Return experiences ``low`` to ``high`` with all boards, as views: no array is copied (see ``compact``)."""
        return replace(self, rows=self.rows[low:high], dense=self.dense.rows(slice(low, high)) if self.dense else None)

    def compact(self) -> ExperienceBatch:
        """Return the same experiences with only the boards that they need, in new arrays."""
        return self.select(np.arange(len(self)))

    def select(self, index: Any) -> ExperienceBatch:
        """Return the experiences at ``index``, in its order, with the boards that they need, in new arrays.

        Args:
            index: (n,) integers, or (len,) bool.

        Raises:
            ConfigError: If ``index`` has another type or shape, or is out of range.
        """
        chosen = np.asarray(index)
        if chosen.dtype == np.bool_ and chosen.shape == (len(self),):
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or (chosen.dtype.kind not in "iu" and len(chosen)):
            raise ConfigError(f"index: expected integers or {len(self)} flags, got {index!r:.200}")
        chosen = chosen.astype(np.int64)
        if len(chosen) and not (-len(self) <= chosen.min() and chosen.max() < len(self)):
            raise ConfigError(f"index: expected integers below {len(self)}, got {index!r:.200}")
        rows = self.rows[chosen]
        ends = np.concatenate([rows["state_index"], rows["next_state_index"]])
        needed = boards_of_frames(self.boards.entries["previous"], ends, self.recipe.frames)
        places = np.zeros(len(self.boards.tiles), np.int32)
        places[needed] = np.arange(len(needed), dtype=np.int32)
        rows["state_index"] = places[rows["state_index"]]
        rows["next_state_index"] = places[rows["next_state_index"]]
        games, rows["game"] = np.unique(rows["game"], return_inverse=True)
        names = tuple(self.game_ids[game] for game in games)
        dense = self.dense.rows(chosen).copied() if self.dense else None
        return replace(self, game_ids=names, rows=rows, boards=gather(self.boards, needed), dense=dense)

    def unpacked(self) -> Boards:
        """Return the boards as the engine plays them."""
        return unpack(self.boards)

    def padded(self, height: int, width: int) -> ExperienceBatch:
        """Return the same experiences on boards of ``height`` x ``width``, padded with mountains below and to the right.

        Raises:
            ConfigError: If the boards are larger than that, or the observations are dense.
        """
        return collate.padded(self, height, width)

    @staticmethod
    def concat(batches: Sequence[ExperienceBatch]) -> ExperienceBatch:
        """Return the experiences of all batches, one after another, on boards of the largest height and width.

        Raises:
            ConfigError: If there is no batch, or the batches differ in the number of players or the recipe.
        """
        return collate.concat(batches)

    def n_step(self, n: int, gamma: float) -> ExperienceBatch:
        """Return experiences that span up to ``n`` turns of the same player.

        ``reward`` becomes the sum of ``gamma**k`` times the reward of the k-th turn; next state, ``terminated`` and
        ``truncated`` are those after the last turn. ``steps`` is the number of turns: fewer than ``n`` where the game or the
        batch ends. A learner bootstraps with ``gamma**steps``.

        Raises:
            ConfigError: If ``n`` is not a positive integer or ``gamma`` not a number from 0 to 1, or some experiences span more
                than one turn already.
        """
        return n_step.n_step(self, n, gamma)

    def turned(self, symmetries: Any) -> ExperienceBatch:
        """Return each experience under one of the board's eight symmetries, which change board, masks and action.

        Args:
            symmetries: (n,) integers from 0 to 7, see ``generals_env.engine.symmetry``; below 4 if boards are not square.

        Raises:
            ConfigError: If ``symmetries`` has another shape or value, or the observations are dense or stacked.
        """
        return symmetry.apply_symmetries(self, symmetries)


def checked_out(out: npt.NDArray[Any] | None, shape: tuple[int, ...], dtypes: tuple[np.dtype[Any], ...]) -> npt.NDArray[Any]:
    """Return ``out`` after checking its shape and dtype, or a new array of the first dtype if it is None."""
    if out is None:
        return np.empty(shape, dtypes[0])
    if not isinstance(out, np.ndarray):
        raise ConfigError(f"out: expected an array, got {type(out).__name__}: pass a numpy array or None")
    if out.shape != shape or out.dtype not in dtypes or not out.flags.c_contiguous or not out.flags.writeable:
        names = " or ".join(map(str, dtypes))
        raise ConfigError(
            f"out: expected a writeable contiguous {names} array of shape {shape}, got {out.dtype} of {out.shape}: "
            f"use np.empty({shape}, {str(dtypes[0])!r})"
        )
    return out
