// A game: its boards at any turn, scores, actions, key moments, and what each player sees.
import { Reader, inflate } from "./bytes.js";
import { CITY } from "./shapes.js";

// Kinds of actions.
export const UNKNOWN = 1;
const PASS = 0, FIRST_MOVE = 2, BUILD = 10;
const KEYFRAME = 64; // frames between two whole boards

export class Game {
  // `head` is the JSON object of the page, `text` the base64 text beside it.
  static async load(head, text) {
    return new Game(head, new Reader(await inflate(text)));
  }

  constructor(head, reader) {
    Object.assign(this, head); // id, names, details, rows, columns, players, teams, first, turns, alive, torus, fog, ...
    this.tiles = this.rows * this.columns;
    this.frames = this.turns + 1;
    this.readBoards(reader);
    this.readActions(reader);
    this.rewards = this.has_rewards ? reader.floats(this.turns * this.players) : null;
    this.values = this.has_values ? reader.floats(this.turns * this.players) : null;
    if (this.has_probabilities) this.readProbabilities(reader);
    this.cumulated = this.rewards && this.cumulate(this.rewards);
    this.board = null;
    this.play();
  }

  get last() {
    return this.first + this.turns;
  }

  readBoards(reader) {
    const { tiles } = this;
    const owner = new Int8Array(reader.take(tiles)), terrain = new Int8Array(reader.take(tiles));
    this.start = { owner, terrain, army: reader.signed(tiles) };
    const counts = reader.varints(this.turns);
    this.offsets = new Uint32Array(this.turns + 1);
    for (let turn = 0; turn < this.turns; turn++) this.offsets[turn + 1] = this.offsets[turn] + counts[turn];
    const changes = this.offsets[this.turns];
    this.changed = reader.varints(changes);
    for (let turn = 0; turn < this.turns; turn++) {
      for (let i = this.offsets[turn] + 1; i < this.offsets[turn + 1]; i++) this.changed[i] += this.changed[i - 1] + 1;
    }
    this.growth = reader.signed(changes);
    this.kinds = reader.take(changes);
  }

  readActions(reader) {
    const { turns, players } = this;
    const kinds = reader.take(turns * players);
    let count = 0;
    for (const kind of kinds) count += kind >= FIRST_MOVE;
    const steps = reader.signed(count);
    this.actions = { kinds, tiles: new Int32Array(turns * players) };
    for (let player = 0, next = 0; player < players; player++) {
      for (let turn = 0, expected = 0; turn < turns; turn++) {
        const at = player * turns + turn;
        if (kinds[at] < FIRST_MOVE) continue;
        const tile = (this.actions.tiles[at] = expected + steps[next++]);
        expected = kinds[at] === BUILD ? tile : this.target(tile, this.direction(kinds[at]));
      }
    }
  }

  readProbabilities(reader) {
    const counts = reader.take(this.turns * this.players);
    const offsets = new Uint32Array(counts.length + 1);
    counts.forEach((count, i) => (offsets[i + 1] = offsets[i] + count));
    const total = offsets[counts.length];
    this.likely = { offsets, kinds: reader.take(total), tiles: reader.varints(total), shares: reader.take(total) };
  }

  cumulate(rewards) {
    const sums = new Float64Array(this.frames * this.players);
    for (let player = 0; player < this.players; player++) {
      for (let turn = 0; turn < this.turns; turn++) {
        const reward = rewards[player * this.turns + turn];
        sums[player * this.frames + turn + 1] = sums[player * this.frames + turn] + (Number.isNaN(reward) ? 0 : reward);
      }
    }
    return sums;
  }

  direction(kind) {
    return (kind - FIRST_MOVE) >> 1;
  }

  // The tile next to `tile`, clipped to the board if it does not wrap.
  target(tile, direction) {
    const row = Math.floor(tile / this.columns) + [-1, 1, 0, 0][direction];
    const column = (tile % this.columns) + [0, 0, -1, 1][direction];
    const inside = (at, side) => (this.torus ? (at + side) % side : Math.min(Math.max(at, 0), side - 1));
    return inside(row, this.rows) * this.columns + inside(column, this.columns);
  }

  // Play all turns once: keep whole boards now and then, count scores, and note key moments.
  play() {
    const { players, frames } = this;
    this.land = new Int32Array(players * frames);
    this.army = new Int32Array(players * frames);
    this.keyframes = [];
    this.moments = [];
    this.lasts = new Int32Array(players); // the last frame in which each player has land
    this.met = new Uint8Array(players);
    const board = { owner: this.start.owner.slice(), army: this.start.army.slice(), terrain: this.start.terrain.slice() };
    const land = new Int32Array(players), army = new Int32Array(players);
    for (let tile = 0; tile < this.tiles; tile++) {
      if (board.owner[tile] < 0) continue;
      land[board.owner[tile]]++;
      army[board.owner[tile]] += board.army[tile];
    }
    for (let frame = 0; frame < frames; frame++) {
      if (frame > 0) this.advance(board, frame - 1, land, army);
      if (frame % KEYFRAME === 0) {
        this.keyframes.push({ owner: board.owner.slice(), army: board.army.slice(), terrain: board.terrain.slice() });
      }
      for (let player = 0; player < players; player++) {
        if (land[player]) this.lasts[player] = frame;
        this.land[player * frames + frame] = land[player];
        this.army[player * frames + frame] = army[player];
      }
    }
    this.noteEnds();
    this.moments.sort((one, other) => one.frame - other.frame);
  }

  advance(board, turn, land, army) {
    const { changed, growth, kinds } = this;
    for (let i = this.offsets[turn]; i < this.offsets[turn + 1]; i++) {
      const tile = changed[i], before = board.owner[tile];
      if (before >= 0) {
        land[before]--;
        army[before] -= board.army[tile];
      }
      const terrain = board.terrain[tile];
      this.change(board, i);
      const after = board.owner[tile];
      if (after >= 0) {
        land[after]++;
        army[after] += board.army[tile];
      }
      if (kinds[i]) this.note(board, tile, turn + 1, before, terrain);
    }
  }

  change(board, i) {
    const tile = this.changed[i], kind = this.kinds[i];
    board.army[tile] += this.growth[i];
    if (kind) {
      board.owner[tile] = ((kind - 1) >> 3) - 6;
      board.terrain[tile] = (kind - 1) & 7;
    }
  }

  // Note a city that is taken, a castle that is built, and the first time that a player is next to an enemy.
  note(board, tile, frame, before, terrain) {
    const owner = board.owner[tile];
    if (board.terrain[tile] === CITY && owner >= 0) {
      if (terrain === CITY && before !== owner) this.moments.push({ frame, kind: "city", player: owner, tile });
      if (terrain !== CITY && before === owner) this.moments.push({ frame, kind: "castle", player: owner, tile });
    }
    if (owner < 0 || this.met[owner] || before === owner) return;
    this.near(tile, (other) => {
      const enemy = board.owner[other];
      if (enemy < 0 || this.teams[enemy] === this.teams[owner] || (this.met[owner] && this.met[enemy])) return;
      this.met[owner] = this.met[enemy] = 1;
      this.moments.push({ frame, kind: "contact", player: owner, other: enemy, tile });
    });
  }

  // Note players who leave the game: the one whose general another player takes, and the one who surrenders.
  noteEnds() {
    let alive = this.alive[0][1];
    for (const [frame, mask] of this.alive.slice(1)) {
      if (mask === 0) this.moments.push({ frame, kind: "draw", player: -1, tile: -1 });
      for (let player = 0; player < this.players && mask; player++) {
        if (!((alive & ~mask) >> player & 1)) continue;
        const tile = this.generals[player];
        const by = tile >= 0 ? this.at(frame).owner[tile] : player;
        const captured = by >= 0 && by !== player;
        // The cities that come with the general are not worth a mark of their own.
        this.moments = this.moments.filter((moment) => !(captured && moment.kind === "city" && moment.frame === frame));
        this.moments.push({ frame, kind: captured ? "general" : "out", player, other: captured ? by : -1, tile });
      }
      alive = mask;
    }
  }

  // Call visit(tile) for the tiles around a tile, and the tile itself.
  near(tile, visit) {
    const row = Math.floor(tile / this.columns), column = tile % this.columns;
    for (let down = -1; down <= 1; down++) {
      for (let right = -1; right <= 1; right++) {
        let y = row + down, x = column + right;
        if (this.torus) {
          y = (y + this.rows) % this.rows;
          x = (x + this.columns) % this.columns;
        }
        if (y >= 0 && x >= 0 && y < this.rows && x < this.columns) visit(y * this.columns + x);
      }
    }
  }

  // The board of a frame: {owner, army, terrain}; valid until the next call.
  at(frame) {
    const step = frame - (this.board ? this.board.frame : -1);
    if (!this.board || step < 0 || step > KEYFRAME) {
      const key = Math.floor(frame / KEYFRAME), { owner, army, terrain } = this.keyframes[key];
      this.board = { owner: owner.slice(), army: army.slice(), terrain: terrain.slice(), frame: key * KEYFRAME };
    }
    for (; this.board.frame < frame; this.board.frame++) {
      for (let i = this.offsets[this.board.frame]; i < this.offsets[this.board.frame + 1]; i++) this.change(this.board, i);
    }
    return this.board;
  }

  // The tiles that a player sees, or null if all: tiles around land of the player's team.
  seen(frame, player) {
    if (player < 0 || !this.fog) return null;
    const { owner } = this.at(frame);
    const seen = new Uint8Array(this.tiles);
    for (let tile = 0; tile < this.tiles; tile++) {
      if (owner[tile] >= 0 && this.teams[owner[tile]] === this.teams[player]) this.near(tile, (other) => (seen[other] = 1));
    }
    return seen;
  }

  isAlive(frame, player) {
    let mask = 0;
    for (const [start, alive] of this.alive) if (start <= frame) mask = alive;
    return Boolean((mask >> player) & 1);
  }

  // The action of a player in a frame: {kind: "pass" | "unknown" | "move" | "build", from, to, half}; null after the end.
  action(frame, player) {
    if (frame < 0 || frame >= this.turns) return null;
    const at = player * this.turns + frame;
    return this.decode(this.actions.kinds[at], this.actions.tiles[at], player);
  }

  decode(code, tile, player) {
    if (code === PASS || code === UNKNOWN) return { kind: code === PASS ? "pass" : "unknown", player };
    if (code === BUILD) return { kind: "build", from: tile, player, build: true };
    const half = Boolean((code - FIRST_MOVE) & 1);
    return { kind: "move", from: tile, to: this.target(tile, this.direction(code)), half, player };
  }

  // The likeliest actions of a player in a frame, [{action, share}], the likeliest first; empty if not recorded.
  likeliest(frame, player) {
    if (!this.likely || frame < 0 || frame >= this.turns) return [];
    const { offsets, kinds, tiles, shares } = this.likely;
    const at = player * this.turns + frame, actions = [];
    for (let i = offsets[at]; i < offsets[at + 1]; i++) {
      actions.push({ action: this.decode(kinds[i], tiles[i], player), share: shares[i] / 255 });
    }
    return actions;
  }
}
