"""Expands packed boards to observations and action masks on a device, with torch.

Results equal those of the kernels of ``engine.packed.expand`` and ``engine.packed.fog_memory`` bit for bit. Rounded values come
from a table made by numpy or are quotients of two tensors, since torch on a GPU divides by a scalar by multiplying with its
reciprocal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL, PLAIN, TORUS
from generals_env.engine.observations.reference import ARMY_SCALE, LAYOUTS, SCOREBOARD, TOTAL_SCALE
from generals_env.engine.packed.expand import FREE
from generals_env.engine.packed.fog_memory import MAX_ARMY, MINE, NEUTRAL, OBSTACLE, SEEN, THEIRS
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, bits_of
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.rules.castle_prices import BASE_PRICE, PRICE_REACH, SURCHARGE, SURCHARGE_STEP

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'to_torch: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = [
    "Decoded",
    "Look",
    "as_tensors",
    "decode",
    "expand",
    "look_at",
    "referred_to",
    "rows_of",
    "upload",
    "write_memory",
    "write_moves",
    "write_view",
]

MAX_TILES = 1 << 22  # expanded at a time: intermediate tensors take about 30 bytes per tile
ARMY_BITS = 0x7FF  # of the memory of a tile
ROUND = 50  # turns between two growths of land

# Neighbours of a tile in (n, H, W): the axis, and whether before the tile. In the order of moves.
UP, DOWN, LEFT, RIGHT = (1, True), (1, False), (2, True), (2, False)

# The boards that wrap around, (k,) int64, and the last row and the last column of each.
Wrapping = tuple[Tensor, Tensor, Tensor]
Index = npt.NDArray[np.integer[Any]]


class Decoded(NamedTuple):
    """N boards on G grounds, on the device.

    Attributes:
        code: (N, H, W) uint8, owner + 6.
        strength: (N, H, W) uint8, 1 where an army may move, 2 where it is 1, which only hands over a team-mate's tile.
        scaled: (N, H, W) float32, armies as observations show them.
        scores: (N, P, 2) int64, land and army of each player; (N, 0, 2) for the standard layout.
        ground: (N,) int64.
        turn: (N,) int64.
        army: (N, H, W) int16 or int32; None if no board has the rules of the competition.
        terrain: (G, H, W) int8.
        team: (G, P) int8.
        alive: (G, P) bool.
        fog: (G,) bool.
        builds: (G,) bool, whether the rules are those of the competition.
        wraps: (G,) bool, or None if no board wraps.
        extents: (G, 2) int64, rows and columns without padding.
        thousandths: (2048,) float32, quotients by 1000.
    """

    code: Tensor
    strength: Tensor
    scaled: Tensor
    scores: Tensor
    ground: Tensor
    turn: Tensor
    army: Tensor | None
    terrain: Tensor
    team: Tensor
    alive: Tensor
    fog: Tensor
    builds: Tensor
    wraps: Tensor | None
    extents: Tensor
    thousandths: Tensor


class Look(NamedTuple):
    """The boards of n players, seen by these players.

    Attributes:
        board: (n,) int64, the board of each player.
        ground: (n,) int64, the ground of each board.
        player: (n, 1) int64.
        code: (n, H, W) uint8, owner + 6.
        mate: (n, P) bool, the players of the same team.
        friend: (n, H, W) bool, tiles of the team.
        wrapping: The boards that wrap around; None if no board does.
    """

    board: Tensor
    ground: Tensor
    player: Tensor
    code: Tensor
    mate: Tensor
    friend: Tensor
    wrapping: Wrapping | None


def as_tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Return arrays as torch tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def expand(
    packed: PackedBoards,
    board: npt.NDArray[np.int32],
    player: npt.NDArray[np.int8],
    shown: npt.NDArray[np.bool_],
    shape: tuple[int, int],
    full: bool,
    device: Any,
) -> tuple[Tensor, Tensor]:
    """Expand n observations on a device; only the boards that they need are uploaded.

    Args:
        packed: The boards.
        board: (n,) the board of each observation.
        player: (n,) the player who observes.
        shown: (n,) False for players who observe zeros and may only pass.
        shape: H and W.
        full: Whether to write the full layout.
        device: A device of torch.

    Returns:
        Observations (n, C, H, W) float32 and action masks (n, A) int8, A as of the rules of the boards, which are those of the
        competition for all of them or for none.
    """
    count, (height, width) = len(board), shape
    rows, (places,) = referred_to(len(packed.tiles), [board])
    boards = decode(packed, rows, shape, full, device)
    index, seat = upload(places, device), upload(player.astype(np.int64), device)
    tensors = torch.empty((count, len(LAYOUTS["full" if full else "standard"]), height, width), device=device)
    actions = action_count(int(packed.games[0]["version"]), height * width)
    masks = torch.empty((count, actions), dtype=torch.int8, device=device)
    step = max(MAX_TILES // (height * width), 1)
    for low in range(0, count, step):
        part = slice(low, low + step)
        look = look_at(boards, index[part], seat[part])
        write_view(boards, look, full, tensors[part])
        write_moves(boards, look, masks[part])
    gone = upload(np.flatnonzero(~shown), device)
    tensors[gone] = 0
    masks[gone] = 0
    masks[:, 8 * height * width] = 1
    return tensors, masks


# --- From the host ------------------------------------------------------------------------------------------------


def upload(array: npt.NDArray[Any], device: Any) -> Tensor:
    """Return a copy of an array on the device."""
    return torch.tensor(np.ascontiguousarray(array), device=device)  # from_numpy would warn for read-only arrays


def referred_to(count: int, indices: Sequence[Index]) -> tuple[Index, list[Index]]:
    """Return which of ``count`` rows the indices need, and the indices renumbered to these rows, int64."""
    flags = np.zeros(count, np.bool_)
    for index in indices:
        flags[index] = True
    places = np.cumsum(flags, dtype=np.int64) - 1
    return np.flatnonzero(flags), [places[index] for index in indices]


def rows_of(array: npt.NDArray[Any], rows: Index) -> npt.NDArray[Any]:
    """Return rows of an array, without a copy if all rows are needed."""
    return array if len(rows) == len(array) else array[rows]


def looked_up(table: Tensor, index: Tensor) -> Tensor:
    """Return the entry of a table (m,) for each element of ``index``."""
    return table.index_select(0, index.flatten().int()).view(index.shape)


def decode(packed: PackedBoards, rows: Index, shape: tuple[int, int], full: bool, device: Any) -> Decoded:
    """Upload rows (N,) of packed boards and unpack their tiles; ``full`` is True for the full layout."""
    entries = packed.entries[rows]
    grounds, (ground,) = referred_to(len(packed.games), [entries["ground"]])
    players, games = packed.players[grounds], packed.games[grounds]
    bits = bits_of(players.shape[1])
    tiles = upload(rows_of(packed.tiles, rows).reshape(-1, *shape), device)
    code = tiles.bitwise_and((1 << bits) - 1).to(torch.uint8)
    army = tiles.bitwise_right_shift(bits)
    wide = np.flatnonzero(entries["wide"] >= 0)
    if len(wide):
        army = army.int()
        army[upload(wide, device)] = upload(packed.armies[entries["wide"][wide]].reshape(-1, *shape), device)
    scores = torch.zeros((len(rows), players.shape[1] if full else 0, 2), dtype=torch.int64, device=device)
    for player in range(scores.shape[1]):
        held = code == player + OWNER_OFFSET
        scores[:, player, 0] = held.sum((1, 2))
        scores[:, player, 1] = (army * held).sum((1, 2), dtype=torch.int64)
    wraps = games["modifiers"] & TORUS != 0
    thousandths = upload(np.arange(ARMY_BITS + 1, dtype=np.float32) / ARMY_SCALE, device)
    return Decoded(
        code=code,
        strength=(army >= 2).byte() + (army == 1).byte() * 2,
        scaled=looked_up(thousandths, army.clamp(0, MAX_ARMY)),
        scores=scores,
        ground=upload(ground, device),
        turn=upload(entries["turn"].astype(np.int64), device),
        army=army if (games["version"] == COMPETITION_VERSION).any() else None,
        terrain=upload(packed.terrain[grounds].reshape(-1, *shape), device),
        team=upload(players["team"], device),
        alive=upload(players["alive"], device),
        fog=upload(games["fog"], device),
        builds=upload(games["version"] == COMPETITION_VERSION, device),
        wraps=upload(wraps, device) if wraps.any() else None,
        extents=upload(np.stack([games["rows"], games["columns"]], axis=1), device),
        thousandths=thousandths,
    )


# --- On the device ------------------------------------------------------------------------------------------------


def look_at(boards: Decoded, index: Tensor, player: Tensor) -> Look:
    """Return the boards ``index`` (n,) as players (n,) see them."""
    ground = boards.ground[index]
    code, team, own = boards.code.index_select(0, index), boards.team[ground], player[:, None]
    mate = team == team.gather(1, own)
    owners = torch.arange(OWNER_OFFSET, OWNER_OFFSET + team.shape[1], dtype=torch.int32, device=index.device)
    owned = (mate * torch.ones_like(owners).bitwise_left_shift(owners)).sum(1, dtype=torch.int32)  # a bit each owner code
    friend = owned[:, None, None].bitwise_right_shift(code.int()).bitwise_and(1).bool()
    wrapping = None
    if boards.wraps is not None:
        which = boards.wraps[ground].nonzero().squeeze(1)
        last = boards.extents[ground[which]] - 1
        wrapping = which, last[:, 0], last[:, 1]
    return Look(index, ground, own, code, mate, friend, wrapping)


def beside(planes: Tensor, direction: tuple[int, bool], wrapping: Wrapping | None) -> Tensor:
    """Return for each tile of (n, H, W) the value of its neighbour, 0 beyond the edge."""
    axis, before = direction
    here, moved = planes.transpose(1, axis), torch.zeros_like(planes)  # now the first axis is that of the direction
    there = moved.transpose(1, axis)
    if before:
        there[:, 1:] = here[:, :-1]
    else:
        there[:, :-1] = here[:, 1:]
    if wrapping:
        which, last = wrapping[0], wrapping[axis]
        if before:
            there[which, 0] = here[which, last]
        else:
            there[which, last] = here[which, 0]
    return moved


def in_sight(boards: Decoded, look: Look) -> Tensor:
    """Return which tiles are visible, (n, H, W) bool."""
    near = look.friend | beside(look.friend, UP, look.wrapping) | beside(look.friend, DOWN, look.wrapping)
    seen = near | beside(near, LEFT, look.wrapping) | beside(near, RIGHT, look.wrapping)
    if look.wrapping:  # the padding of a board that wraps around is not visible
        which, row, column = look.wrapping
        rows, columns = (torch.arange(size, device=row.device) for size in seen.shape[1:])
        seen[which] &= (rows <= row[:, None])[:, :, None] & (columns <= column[:, None])[:, None, :]
    return seen | ~boards.fog[look.ground][:, None, None]


def write_view(boards: Decoded, look: Look, full: bool, out: Tensor) -> None:
    """Write observations into the first channels of (n, C, H, W) float32; see ``observations.reference.observe``."""
    code, friend, seen = look.code, look.friend, in_sight(boards, look)
    scaled, terrain = boards.scaled.index_select(0, look.board), boards.terrain.index_select(0, look.ground)
    city, general, obstacle = terrain == CITY, terrain == GENERAL, code < FREE
    mine, theirs, neutral = friend & seen, (code > FREE) & ~friend & seen, (code == FREE) & seen
    known = seen & ~obstacle
    torch.mul(scaled, mine, out=out[:, 0])
    torch.mul(scaled, theirs, out=out[:, 1])
    for channel, flags in enumerate((mine, theirs, neutral, (city | general) & known, obstacle & seen, seen, ~seen), 2):
        out[:, channel] = flags
    if full:
        torch.mul(scaled, neutral, out=out[:, 9])
        for channel, flags in enumerate((city & known, general & mine, general & theirs, (obstacle | city) & ~seen), 10):
            out[:, channel] = flags
        shares = scoreboard(boards, look)
        out[:, SCOREBOARD : SCOREBOARD + shares.shape[1]] = shares[:, :, None, None]


def scoreboard(boards: Decoded, look: Look) -> Tensor:
    """Return the channels that are the same on every tile, (n, 7) float32; see ``reference.write_scoreboard``."""
    device, scores, turn, foe = look.board.device, boards.scores[look.board], boards.turn[look.board], ~look.mate
    own, others = (scores * look.mate[:, :, None]).sum(1).float(), (scores * foe[:, :, None]).sum(1).float()
    area = boards.extents.prod(1)[look.ground].float()
    scale = torch.full_like(area, float(TOTAL_SCALE))
    numbers = np.arange(look.mate.shape[1] + 1, dtype=np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):  # without enemies
        quotients = upload(numbers[:, None] / numbers, device)
    alive = boards.alive[look.ground]
    rounds = upload(np.arange(ROUND, dtype=np.float32) / np.float32(ROUND), device)
    shares = (
        own[:, 0] / area,
        others[:, 0] / area,
        (own[:, 1] / scale).clamp(max=1),
        (others[:, 1] / scale).clamp(max=1),
        quotients[(alive & foe).sum(1), foe.sum(1)],
        rounds[turn % ROUND],
        boards.thousandths[turn.clamp(max=MAX_ARMY)],  # turns are scaled as armies are
    )
    return torch.stack(shares, 1)


def write_memory(known: Tensor, table: Tensor, full: bool, out: Tensor) -> None:
    """Write the memory of players, (n, H, W) int16, as planes (n, K, H, W) float32; see ``fog_memory.expand_memory``."""
    value = known.int() & 0xFFFF
    seen, whose, built = value >= SEEN, value >> 13 & 3, value >> 11 & 3
    shown = seen & (whose != OBSTACLE)
    if not full:
        shown &= whose != NEUTRAL
    planes = [seen, *(seen & (whose == one) for one in (MINE, THEIRS, NEUTRAL)), shown, built != 0, seen & (whose == OBSTACLE)]
    if full:
        planes += [built == 1, (built == 2) & (whose == THEIRS)]
    for plane, flags in enumerate(planes):
        out[:, plane] = flags
    out[:, 4].mul_(looked_up(table, value & ARMY_BITS))


def write_moves(boards: Decoded, look: Look, out: Tensor) -> None:
    """Write masks of legal actions, (n, A) int8; see ``engine.packed.expand.expand_masks``."""
    code = look.code
    own = code == (look.player + OWNER_OFFSET).byte()[:, :, None]
    acts = own & boards.alive[look.ground].gather(1, look.player)[:, :, None]
    strength = boards.strength.index_select(0, look.board) * acts
    open_to = (code >= FREE).byte() + (look.friend & ~own).byte() * 2  # which strengths may enter, a bit each
    passes = 8 * code[0].numel()
    moves = out[:, :passes].view(-1, 2, *code.shape[1:], 4)
    for direction, where in enumerate((UP, DOWN, LEFT, RIGHT)):
        moves[..., direction] = (strength & beside(open_to, where, look.wrapping)).bool()[:, None]
    out[:, passes] = 1
    if out.shape[1] > passes + 1:
        write_builds(boards, look, acts, out[:, passes + 1 :])


def write_builds(boards: Decoded, look: Look, acts: Tensor, out: Tensor) -> None:
    """Write on which tiles players may build, (n, H*W) int8; ``acts`` (n, H, W) bool are the tiles of living players."""
    if boards.army is None:
        out.zero_()
        return
    terrain = boards.terrain.index_select(0, look.ground)
    plain, built = terrain == PLAIN, (terrain == CITY) | (terrain == GENERAL)
    pays = boards.army.index_select(0, look.board) >= BASE_PRICE + surcharges(acts & built)
    allowed = boards.builds[look.ground][:, None, None]
    out[:] = (acts & plain & pays & allowed).flatten(1)


def surcharges(built: Tensor) -> Tensor:
    """Return for each tile the sum of the surcharges for the castles and generals near it, (n, H, W) float32.

    Float32 is exact for these small integers, in whichever order they are added.
    """
    row = torch.arange(built.shape[1], device=built.device)
    apart = (row[:, None] - row).abs()
    framed = torch.nn.functional.pad(built.float(), (PRICE_REACH, PRICE_REACH))
    total = torch.zeros(built.shape, device=built.device)
    for shift in range(-PRICE_REACH, PRICE_REACH + 1):
        weights = (SURCHARGE - SURCHARGE_STEP * (apart + abs(shift))).clamp(min=0).float()
        total += weights @ framed[:, :, PRICE_REACH + shift : PRICE_REACH + shift + built.shape[2]]
    return total
