// Shows one game: its board from a player's view, scores, graphs, and what an agent thought.
import { BoardView } from "./board.js";
import { Graph } from "./graph.js";
import { makeAgents, showAgents } from "./agents.js";
import { element } from "./dom.js";

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const TERRAINS = ["plain", "general", "city", "mountain", "swamp", "desert", "lookout", "observatory"];

export class Panel {
  // onSeek(frame of this panel's game) is called when the reader clicks into the graph, onChange() when the view changes.
  constructor(parent, { onSeek, onChange }) {
    this.root = document.getElementById("panel").content.firstElementChild.cloneNode(true);
    parent.append(this.root);
    this.find = (selector) => this.root.querySelector(selector);
    this.view = new BoardView(this.find(".board"));
    this.graph = new Graph(this.find(".graph"));
    this.onChange = onChange;
    this.player = -1; // whose view; -1: the whole board
    this.tab = "Army";
    this.hovered = -1; // tile that the reader points at
    this.cursor = -1; // tile with the keyboard's focus
    this.find(".view-select").addEventListener("change", (event) => this.look(Number(event.target.value)));
    const canvas = this.find(".board");
    canvas.addEventListener("pointermove", (event) => this.hover(this.view.tileAt(event.clientX, event.clientY)));
    canvas.addEventListener("pointerdown", (event) => this.hover(this.view.tileAt(event.clientX, event.clientY)));
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && this.point(Math.max(this.cursor, 0)));
    canvas.addEventListener("blur", () => this.point(-1));
    canvas.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step || event.shiftKey || this.cursor < 0) return; // a click gives the focus, but no cursor
      event.preventDefault();
      event.stopPropagation(); // on the board, arrows move from tile to tile
      const { rows, columns } = this.game, [down, right] = step;
      const row = Math.min(Math.max(Math.floor(this.cursor / columns) + down, 0), rows - 1);
      const column = Math.min(Math.max((this.cursor % columns) + right, 0), columns - 1);
      this.point(row * columns + column);
    });
    const graph = this.find(".graph");
    const seek = (event) => onSeek(this.graph.frameAt(event.clientX, this.game.frames));
    graph.addEventListener("pointerdown", (event) => {
      graph.setPointerCapture(event.pointerId);
      seek(event);
    });
    graph.addEventListener("pointermove", (event) => event.buttons && seek(event));
  }

  // Show another game.
  setGame(game, player = -1) {
    this.game = game;
    this.player = player < game.players ? player : -1;
    this.frame = 0;
    this.hovered = this.cursor = -1;
    const select = this.find(".view-select");
    select.replaceChildren(...[-1, ...game.names.keys()].map((seat) => {
      const option = element("option", "", seat < 0 ? "Whole board" : game.names[seat]);
      option.value = String(seat);
      return option;
    }));
    select.value = String(this.player);
    this.makeScores();
    this.makeTabs();
    this.makeDetails();
    makeAgents(this);
  }

  look(player) {
    this.player = player;
    this.find(".view-select").value = String(player);
    this.onChange();
  }

  makeScores() {
    const { game } = this;
    const teamed = new Set(game.teams).size < game.players;
    const seats = [...game.names.keys()].sort((one, other) => game.teams[one] - game.teams[other] || one - other);
    this.rows = seats.map((player) => {
      const row = element("tr"), head = element("th"), button = element("button", "seat");
      head.scope = "row";
      const swatch = element("span", "swatch");
      swatch.style.background = `var(--player-${player})`;
      button.type = "button";
      button.title = `See the board as ${game.names[player]} does`;
      button.append(swatch, element("span", "seat-name", game.names[player]));
      if (teamed) button.append(element("span", "team", `team ${game.teams[player] + 1}`));
      button.append(element("span", "state"));
      button.addEventListener("click", () => this.look(this.player === player ? -1 : player));
      head.append(button);
      row.append(head, element("td", "army"), element("td", "land"), element("td", "cities"));
      return { player, row, button };
    });
    this.shares = seats.map((player) => {
      const share = element("span");
      share.style.background = `var(--player-${player})`;
      return { player, share };
    });
    this.find(".shares").replaceChildren(...this.shares.map(({ share }) => share));
    this.find(".scores tbody").replaceChildren(...this.rows.map(({ row }) => row));
    this.find(".cities-head").textContent = game.competition ? "Castles" : "Cities";
  }

  makeTabs() {
    const { game } = this;
    this.series = { Army: game.army, Land: game.land };
    if (game.values) this.series.Value = game.values;
    if (game.cumulated) this.series.Return = game.cumulated;
    if (!this.series[this.tab]) this.tab = "Army";
    const tabs = this.find(".tabs");
    tabs.replaceChildren(...Object.keys(this.series).map((name) => {
      const button = element("button", "tab", name);
      button.type = "button";
      button.setAttribute("aria-pressed", String(name === this.tab));
      button.addEventListener("click", () => {
        this.tab = name;
        for (const other of tabs.children) other.setAttribute("aria-pressed", String(other === button));
        this.onChange();
      });
      return button;
    }));
  }

  makeDetails() {
    const { game } = this;
    const facts = [
      ["Id", game.id], ["Board", `${game.rows} × ${game.columns}`], ["Turns", String(game.turns)],
      ["Rules", game.competition ? "competition" : "live"], ...Object.entries(game.details),
    ];
    if (game.partial_sight) facts.push(["Fog", "lookouts and watchtowers are not counted: players saw more"]);
    this.find(".details").replaceChildren(...facts.filter(([, text]) => text).flatMap(([name, text]) => [element("dt", "", name), element("dd", "", text)]));
  }

  hover(tile) {
    this.hovered = tile;
    this.showTile();
  }

  // Move the keyboard's cursor to a tile, or take it away (-1), and read the tile.
  point(tile) {
    this.cursor = tile;
    this.hovered = tile;
    this.onChange();
  }

  // Show a frame. `options`: arrows and heat, whether to draw them.
  show(frame, options) {
    const { game } = this;
    this.frame = Math.min(Math.max(frame, 0), game.frames - 1);
    const board = game.at(this.frame);
    this.seen = game.seen(this.frame, this.player);
    const heated = options.heat ? this.heat() : {};
    this.view.draw({
      rows: game.rows, columns: game.columns, owner: board.owner, army: board.army, terrain: board.terrain, seen: this.seen,
      marks: options.arrows ? this.marks() : [], selection: -1, cursor: this.cursor, ...heated,
    });
    this.showScores(board);
    this.showTile();
    showAgents(this);
    this.drawGraph();
    const turn = game.first + this.frame;
    this.find(".panel-name").textContent = options.title;
    this.find(".panel-over").textContent = options.over ? `ended in turn ${game.last}` : "";
    this.find(".board").setAttribute("aria-label", `Board of ${game.rows} by ${game.columns} tiles in turn ${turn}`);
  }

  // The last moves, of those whose start or end the viewer sees.
  marks() {
    const { game, seen } = this, marks = [];
    for (let player = 0; player < game.players; player++) {
      const action = game.action(this.frame - 1, player);
      if (!action || (action.kind !== "move" && action.kind !== "build")) continue;
      if (!seen || seen[action.from] || (action.kind === "move" && seen[action.to])) marks.push(action);
    }
    return marks;
  }

  // Probabilities of the viewer's policy; of the first player who has any, if the whole board is shown.
  heat() {
    const { game } = this;
    const seats = this.player >= 0 ? [this.player] : [...game.names.keys()];
    const player = seats.find((seat) => game.likeliest(this.frame, seat).length);
    if (player === undefined) return {};
    const heat = new Float32Array(game.tiles), arrows = [];
    for (const { action, share } of game.likeliest(this.frame, player)) {
      if (action.kind === "move" || action.kind === "build") heat[action.from] += share;
      if (action.kind === "move" && share >= 0.02) arrows.push({ ...action, share });
    }
    return { heat, arrows: arrows.reverse() };
  }

  showScores(board) {
    const { game, frame } = this;
    const cities = new Int32Array(game.players);
    for (let tile = 0; tile < game.tiles; tile++) if (board.terrain[tile] === 2 && board.owner[tile] >= 0) cities[board.owner[tile]]++;
    for (const { player, share } of this.shares) {
      const army = game.army[player * game.frames + frame];
      share.hidden = army <= 0;
      share.style.flexGrow = String(army);
    }
    const alive = game.names.map((_, player) => game.isAlive(frame, player));
    const teams = new Set(game.teams.filter((_, player) => alive[player]));
    const over = frame === game.frames - 1 && teams.size <= 1;
    for (const { player, row, button } of this.rows) {
      row.querySelector(".army").textContent = String(game.army[player * game.frames + frame]);
      row.querySelector(".land").textContent = String(game.land[player * game.frames + frame]);
      row.querySelector(".cities").textContent = String(cities[player]);
      row.classList.toggle("out", !alive[player]);
      row.querySelector(".state").textContent = over && !teams.size ? "draw" : !alive[player] ? "out" : over ? "won" : "";
      button.setAttribute("aria-pressed", String(player === this.player));
    }
  }

  showTile() {
    const { game, hovered: tile } = this;
    const output = this.find(".tile-text");
    if (tile < 0) {
      output.textContent = "Point at a tile to read it.";
      return;
    }
    const board = game.at(this.frame), owner = board.owner[tile];
    const place = `Row ${Math.floor(tile / game.columns)}, column ${tile % game.columns}`;
    if (this.seen && !this.seen[tile]) output.textContent = `${place}: in fog`;
    else if (owner < -1) output.textContent = `${place}: ${{ "-2": "mountain", "-5": "lookout", "-6": "observatory" }[owner] || "obstacle"}`;
    else {
      const who = owner >= 0 ? `${game.names[owner]}, ` : "";
      output.textContent = `${place}: ${who}${TERRAINS[board.terrain[tile]]}, army ${board.army[tile]}`;
    }
  }

  drawGraph() {
    const { game } = this;
    const numbers = this.series[this.tab];
    const count = this.tab === "Value" ? game.turns : game.frames;
    const lines = [...game.names.keys()].map((player) => ({
      values: numbers.subarray(player * count, player * count + Math.min(count, game.lasts[player] + 2)),
      color: getComputedStyle(document.documentElement).getPropertyValue(`--player-${player}`).trim(),
      faint: this.player >= 0 && this.player !== player,
    }));
    this.graph.draw(lines, game.first, game.frames, this.frame);
    this.find(".graph").setAttribute("aria-label", `${this.tab} of each player over the turns`);
  }
}
