// What the person holds: the selected tile, whether the next move sends half, and the queue as the server last told it.
import { CITY, GENERAL } from "./shapes.js";

export const DIRECTIONS = { up: [-1, 0], down: [1, 0], left: [0, -1], right: [0, 1] };

export class Hand {
  // send(message) sends to the server; onChange() is called after each change.
  constructor(send, onChange) {
    this.send = send;
    this.onChange = onChange;
    this.reset(null);
  }

  // Begin a game: its facts, null before the first.
  reset(facts) {
    Object.assign(this, { facts, board: null, queue: [], selection: -1, half: false });
  }

  // Take what the server tells after a turn, or after a change of the queue.
  take(board) {
    this.board = board;
    this.queue = board.queue;
  }

  get open() {
    return this.board !== null && (this.board.state === "ready" || this.board.state === "playing");
  }

  general() {
    const { owner, terrain } = this.board;
    return owner.findIndex((holder, tile) => holder === this.facts.seat && terrain[tile] === GENERAL);
  }

  // Whether an army of the person is on the tile now, or gets there by queued moves.
  reaches(tile) {
    return this.board.owner[tile] === this.facts.seat || this.queue.some((move) => move.to === tile);
  }

  // The neighbour of a tile, -1 off the board.
  neighbour(tile, [down, right]) {
    const { rows, columns, torus } = this.facts;
    let row = Math.floor(tile / columns) + down, column = (tile % columns) + right;
    if (torus) [row, column] = [(row + rows) % rows, (column + columns) % columns];
    return row < 0 || column < 0 || row >= rows || column >= columns ? -1 : row * columns + column;
  }

  // A click: select, send half, or move.
  tap(tile) {
    if (!this.open) return;
    const direction = this.selection < 0 ? undefined : Object.values(DIRECTIONS).find((step) => this.neighbour(this.selection, step) === tile);
    if (tile === this.selection) this.half = !this.half;
    else if (direction) return this.go(direction);
    else this.select(this.reaches(tile) ? tile : -1);
    this.onChange();
    return undefined;
  }

  select(tile) {
    this.selection = tile;
    this.half = false;
  }

  // Queue a move of the selected army in a direction; without a selection the general is selected.
  go(direction) {
    if (!this.open) return;
    if (this.selection < 0) {
      this.select(this.general());
      return this.onChange();
    }
    const from = this.selection, to = this.neighbour(from, direction);
    const wall = to < 0 || (this.board.owner[to] < -1 && (!this.board.seen || this.board.seen[to])); // in fog it may be a city
    if (wall) return undefined;
    this.send({ do: "move", from, to, half: this.half });
    this.queue = [...this.queue, { from, to, half: this.half }];
    this.select(to);
    return this.onChange();
  }

  undo() {
    const last = this.queue.at(-1);
    if (!this.open || !last) return;
    this.send({ do: "undo" });
    this.queue = this.queue.slice(0, -1);
    this.select(last.from);
    this.onChange();
  }

  clear() {
    if (!this.open) return;
    this.send({ do: "clear" });
    if (this.queue.length && this.selection >= 0 && this.board.owner[this.selection] !== this.facts.seat) this.select(this.queue[0].from);
    this.queue = [];
    this.onChange();
  }

  toggleHalf() {
    if (!this.open || this.selection < 0) return;
    this.half = !this.half;
    this.onChange();
  }

  // Price of a castle on the selected tile; null where none can stand.
  price() {
    if (!this.facts?.builds || !this.board?.prices || this.selection < 0) return null;
    return this.board.prices[this.selection] ?? null;
  }

  build() {
    if (!this.open || this.price() === null) return;
    this.send({ do: "build", tile: this.selection });
    this.queue = [...this.queue, { from: this.selection, build: true }];
    this.onChange();
  }

  // The selected tile in words.
  words() {
    if (!this.board || this.selection < 0) return "";
    const { columns, names } = this.facts;
    const tile = this.selection, owner = this.board.owner[tile], terrain = this.board.terrain[tile];
    const place = `Row ${Math.floor(tile / columns) + 1}, column ${(tile % columns) + 1}`;
    if (this.board.seen && !this.board.seen[tile]) return `${place}: out of sight`;
    if (owner < -1) return `${place}: mountain`;
    const what = terrain === GENERAL ? "general" : terrain === CITY ? "city" : "land";
    if (owner < 0 && what === "land" && !this.board.army[tile]) return `${place}: empty land`;
    const whose = owner === this.facts.seat ? `your ${what}` : owner < 0 ? `neutral ${what}` : `${what} of ${names[owner]}`;
    return `${place}: ${whose}, army ${this.board.army[tile]}${this.half ? ", half of it moves" : ""}`;
  }
}
