// Draws a board on a canvas, sharp on any screen, in the colours of theme.css.
import {
  CITY, DESERT, GENERAL, LOOKOUT, MOUNTAIN_VARIANTS, OBSERVATORY, PLAIN, SWAMP, drawCastle, drawCrown, drawDesert, drawLookout,
  drawMountain, drawObservatory, drawSwamp,
} from "./shapes.js";

const PLAYERS = 16;
const NUMBERS_FROM = 11; // CSS pixels of a tile from which armies are written
const LARGEST = 84; // CSS pixels of a tile at most
const DARK_FROM = 0.1; // share of heat from which armies are dark
const HEAT_EDGE = "#3a3000";
const GROUNDS = ["ground", "city", "rock", "stone", "stone-shade", "snow", "marsh", "sand", "fog", "fog-mark", "grid", "ink", "select", "heat"];

// What a tile looks like without its army: a terrain code, or one of these.
const FOG = 8, PEAK = 9, FOG_PEAK = 9 + MOUNTAIN_VARIANTS;

// The text of an army: five digits do not fit into a tile.
export function armyText(army) {
  const size = Math.abs(army);
  const text = size < 10000 ? `${size}` : size < 1000000 ? `${Math.trunc(size / 1000)}k` : `${Math.trunc(size / 1000000)}M`;
  return army < 0 ? `−${text}` : text;
}

// A board on a canvas.
//
// draw(state) takes: rows, columns; owner, army, terrain: arrays of rows * columns numbers, codes of the engine; seen: such an
// array of 0 and 1, or null for the whole board (an obstacle that is not seen has an owner below -1, or the terrain of a city);
// and optionally
//   marks: [{from, to, player, half}] moves just made; {from, player, build: true} a castle built on `from`,
//   queue: [{from, to, half}] moves that wait,
//   selection: tile or -1; half: whether the selection sends half,
//   heat: rows * columns shares from 0 to 1, and arrows: [{from, to, share}]: probabilities of a policy,
//   cursor: tile with the keyboard's focus, or -1.
export class BoardView {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.state = null;
    this.room = { width: 480, height: 480 };
    this.size = 0; // device pixels of a tile
    this.scale = 1; // device pixels of a CSS pixel
    this.sprites = new Map();
    this.colors = null;
  }

  // Take at most this room, in CSS pixels; the next draw() uses it.
  fit(width, height) {
    this.room = { width, height };
  }

  // Read the colours of theme.css again: after the theme has changed.
  readTheme() {
    this.colors = null;
  }

  // The tile under a point of the window (clientX, clientY), -1 outside the board.
  tileAt(x, y) {
    if (!this.state) return -1;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((x - box.left) / box.width) * this.state.columns);
    const row = Math.floor(((y - box.top) / box.height) * this.state.rows);
    const inside = column >= 0 && row >= 0 && column < this.state.columns && row < this.state.rows;
    return inside ? row * this.state.columns + column : -1;
  }

  draw(state) {
    this.state = state;
    this.prepare();
    const { context, size } = this;
    context.fillStyle = this.colors.grid;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const tiles = state.rows * state.columns;
    for (let tile = 0; tile < tiles; tile++) this.drawGround(tile);
    if (state.heat) this.drawHeat(state.heat);
    const numbered = size >= NUMBERS_FROM * this.scale;
    if (numbered) for (let tile = 0; tile < tiles; tile++) this.drawArmy(tile);
    for (const move of state.arrows || []) this.drawArrow(move, this.colors.heatColor, 0.05 + 0.13 * move.share, HEAT_EDGE);
    for (const move of state.queue || []) this.drawArrow(move, this.colors.select, 0.09);
    for (const move of state.marks || []) {
      if (move.build) this.drawRing(move.from, this.colors[move.player]);
      else this.drawArrow(move, this.colors[move.player], 0.15, "#ffffff");
    }
    // Numbers that an arrow crosses are written again over it.
    const crossed = new Set([...(state.arrows || []), ...(state.marks || [])].flatMap((move) => (move.build ? [] : [move.from, move.to])));
    if (numbered) for (const tile of crossed) this.drawArmy(tile, true);
    if (state.selection >= 0) this.drawFrame(state.selection, this.colors.select, Math.max(size / 12, 2), state.half);
    if (state.cursor >= 0) this.drawFrame(state.cursor, this.colors.heatColor, Math.max(size / 10, 2), false);
  }

  // Set the size of the canvas, and forget sprites of another size or theme.
  prepare() {
    const { rows, columns } = this.state;
    const scale = window.devicePixelRatio || 1;
    const size = Math.max(Math.floor(Math.min((this.room.width * scale) / columns, (this.room.height * scale) / rows, LARGEST * scale)), 3);
    const gap = size >= 8 * scale ? Math.max(Math.round(size / 26), 1) : 0;
    const width = size * columns + gap, height = size * rows + gap;
    if (this.canvas.width !== width || this.canvas.height !== height || this.scale !== scale) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.canvas.style.width = `${width / scale}px`;
      this.canvas.style.height = `${height / scale}px`;
    }
    if (this.size !== size || !this.colors) this.sprites.clear();
    Object.assign(this, { size, gap, scale });
    if (!this.colors) {
      const style = getComputedStyle(document.documentElement);
      this.colors = Object.fromEntries(GROUNDS.map((name) => [name, style.getPropertyValue(`--board-${name}`).trim()]));
      for (let player = 0; player < PLAYERS; player++) this.colors[player] = style.getPropertyValue(`--player-${player}`).trim();
      this.colors.heatColor = `rgb(${this.colors.heat})`;
      this.font = style.getPropertyValue("--font").trim() || "sans-serif";
    }
  }

  corner(tile) {
    const { size, gap, state } = this;
    return [(tile % state.columns) * size + gap, Math.floor(tile / state.columns) * size + gap];
  }

  drawGround(tile) {
    const { context, state } = this;
    const [left, top] = this.corner(tile);
    const owner = state.owner[tile], terrain = state.terrain[tile];
    const variant = (tile * 7 + Math.floor(tile / state.columns) * 3) % MOUNTAIN_VARIANTS;
    if (state.seen && !state.seen[tile]) {
      context.drawImage(this.sprite(owner < -1 || terrain === CITY ? FOG_PEAK + variant : FOG, -1), left, top);
      return;
    }
    const what = owner === -2 ? PEAK + variant : owner === -5 ? LOOKOUT : owner === -6 ? OBSERVATORY : terrain;
    context.drawImage(this.sprite(what, owner < 0 ? -1 : owner), left, top);
  }

  // Write the army of a tile; `outlined` separates the number from what lies below it.
  drawArmy(tile, outlined = false) {
    const { context, size, state, gap } = this;
    const owner = state.owner[tile], army = state.army[tile], terrain = state.terrain[tile];
    if ((state.seen && !state.seen[tile]) || owner < -1 || (owner < 0 && army === 0)) return;
    const [left, top] = this.corner(tile);
    const raised = terrain === GENERAL || terrain === CITY;
    const text = armyText(army), inner = size - gap;
    const points = inner * (raised ? [0.42, 0.42, 0.4, 0.33, 0.27] : [0.52, 0.52, 0.43, 0.34, 0.28])[Math.min(text.length, 5) - 1];
    context.font = `700 ${Math.max(Math.round(points), 6)}px ${this.font}`;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    const hot = state.heat && state.heat[tile] >= DARK_FROM;
    context.fillStyle = (owner >= 0 || terrain === CITY) && !hot ? "#ffffff" : this.colors.ink;
    const x = left + inner / 2, y = top + inner * (raised ? 0.72 : 0.5) + points * 0.36;
    if (outlined) {
      context.strokeStyle = hot ? this.colors.heatColor : owner >= 0 ? this.colors[owner] : terrain === CITY ? this.colors.city : this.colors.ground;
      context.lineWidth = inner * 0.08;
      context.lineJoin = "round";
      context.strokeText(text, x, y);
    }
    context.fillText(text, x, y);
  }

  // A tile without its army, drawn once for each look and kept.
  sprite(what, owner) {
    const key = what * 32 + owner + 1;
    let sprite = this.sprites.get(key);
    if (!sprite) {
      sprite = document.createElement("canvas");
      sprite.width = sprite.height = this.size;
      this.paintSprite(sprite.getContext("2d"), what, owner);
      this.sprites.set(key, sprite);
    }
    return sprite;
  }

  paintSprite(context, what, owner) {
    const { colors } = this;
    const inner = this.size - this.gap;
    const neutral = { [CITY]: colors.city, [SWAMP]: colors.marsh, [DESERT]: colors.sand, [LOOKOUT]: colors.rock, [OBSERVATORY]: colors.rock };
    const base = what >= FOG_PEAK || what === FOG ? colors.fog : what >= PEAK ? colors.rock : neutral[what] || colors.ground;
    const ground = owner >= 0 ? colors[owner] : base;
    context.fillStyle = ground;
    context.beginPath();
    context.roundRect(0, 0, inner, inner, this.gap ? inner * 0.07 : 0);
    context.fill();
    context.scale(inner, inner);
    if ((what === GENERAL || what === CITY) && this.size < NUMBERS_FROM * this.scale) {
      context.translate(-0.3, 0.06); // there is no number below, so the sign takes the whole tile
      context.scale(1.6, 1.6);
    }
    if (what === GENERAL) drawCrown(context, owner >= 0 ? "#ffffff" : colors["stone-shade"], ground);
    else if (what === CITY) drawCastle(context, "#ffffff", ground);
    else if (what === SWAMP) drawSwamp(context, `color-mix(in srgb, ${ground} 72%, black)`);
    else if (what === DESERT) drawDesert(context, `color-mix(in srgb, ${ground} 70%, #6a4a10)`);
    else if (what === LOOKOUT) drawLookout(context, colors["stone-shade"], colors.snow);
    else if (what === OBSERVATORY) drawObservatory(context, colors["stone-shade"], colors.snow);
    else if (what >= FOG_PEAK) drawMountain(context, what - FOG_PEAK, colors["fog-mark"], null, null);
    else if (what >= PEAK) drawMountain(context, what - PEAK, colors.stone, colors["stone-shade"], colors.snow);
    else if (what !== PLAIN && what !== FOG) drawMountain(context, 0, colors.stone, colors["stone-shade"], colors.snow);
  }

  center(tile) {
    const { size, gap, state } = this;
    return [((tile % state.columns) + 0.5) * size + gap / 2, (Math.floor(tile / state.columns) + 0.5) * size + gap / 2];
  }

  // An arrow between two neighbours; half moves are dashed. On a board that wraps, an arrow points over the edge.
  drawArrow(move, color, width, edge = "") {
    const { context, size, state } = this;
    const [x, y] = this.center(move.from);
    const wrapped = (step, side) => (step > 1 ? step - side : step < -1 ? step + side : step);
    const right = wrapped((move.to % state.columns) - (move.from % state.columns), state.columns);
    const down = wrapped(Math.floor(move.to / state.columns) - Math.floor(move.from / state.columns), state.rows);
    const at = (along, aside) => [x + (right * along - down * aside) * size, y + (down * along + right * aside) * size];
    const raised = [GENERAL, CITY].includes(state.terrain[move.from]);
    const tail = raised && down > 0 ? 0.42 : 0.3; // below the number of a general
    const head = Math.max(width * 1.25, 0.1);
    context.lineJoin = "round";
    context.lineCap = "butt";
    for (const border of edge ? [0.08, 0] : [0]) {
      context.strokeStyle = context.fillStyle = border ? edge : color;
      context.lineWidth = Math.max((width + border) * size, 1);
      context.setLineDash(move.half && !border ? [size * 0.13, size * 0.07] : []);
      context.beginPath();
      context.moveTo(...at(tail - border / 2, 0));
      context.lineTo(...at(0.7 - head, 0));
      context.stroke();
      context.setLineDash([]);
      context.lineWidth = Math.max(border * size, 0.5);
      context.beginPath();
      context.moveTo(...at(0.74, 0));
      context.lineTo(...at(0.68 - head, head));
      context.lineTo(...at(0.68 - head, -head));
      context.closePath();
      context.fill();
      context.stroke();
    }
  }

  // A ring around a castle that was just built.
  drawRing(tile, color) {
    const { context, size } = this;
    const [x, y] = this.center(tile);
    for (const [width, ink] of [[0.16, "#ffffff"], [0.09, color]]) {
      context.strokeStyle = ink;
      context.lineWidth = width * size;
      context.beginPath();
      context.arc(x, y, size * 0.48, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  drawFrame(tile, color, width, dashed) {
    const { context, size, gap, state } = this;
    const left = (tile % state.columns) * size + gap / 2, top = Math.floor(tile / state.columns) * size + gap / 2;
    context.strokeStyle = color;
    context.lineWidth = width;
    context.setLineDash(dashed ? [size / 5, size / 8] : []);
    context.strokeRect(left, top, size, size);
    context.setLineDash([]);
  }

  drawHeat(heat) {
    const { context, size, gap } = this;
    heat.forEach((share, tile) => {
      if (share < 0.004) return;
      context.fillStyle = `rgb(${this.colors.heat} / ${0.2 + 0.75 * Math.sqrt(share)})`;
      context.fillRect(...this.corner(tile), size - gap, size - gap);
    });
  }
}
