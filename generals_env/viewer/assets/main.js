// Plays the games of the page: one, the same game from both seats, or two games side by side.
import { Game } from "./game.js";
import { Panel } from "./panel.js";
import { element } from "./dom.js";
import { markedMoments, momentText, showMarks } from "./moments.js";
import { startKeys } from "./keys.js";
import { startTheme } from "./theme.js";

const SPEEDS = [1, 2, 4, 8, 16, 32, 64, 128];
const PLAY = "M7 4v16l13-8z", PAUSE = "M6 4h4.5v16H6zm7.5 0H18v16h-4.5z";
const byId = (id) => document.getElementById(id);

class Viewer {
  constructor(data) {
    this.heads = data.games;
    this.loaded = new Map();
    this.panels = [];
    this.shown = [0]; // indices of the games on the stage
    this.turn = 0;
    this.speed = data.speed;
    this.playing = false;
    this.options = { arrows: true, heat: true };
    this.bind();
  }

  async game(index) {
    if (!this.loaded.has(index)) this.loaded.set(index, await Game.load(this.heads[index], byId(`game-${index}`).textContent));
    return this.loaded.get(index);
  }

  bind() {
    const actions = {
      first: () => this.seek(this.first), end: () => this.seek(this.last), back: () => this.step(-1), forward: () => this.step(1),
      play: () => this.toggle(), both: () => this.toggleBoth(), compare: () => this.toggleCompare(),
      arrows: () => this.flip("arrows"), heat: () => this.flip("heat"), "help-open": () => byId("help").showModal(),
    };
    for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
    byId("timeline").addEventListener("input", (event) => this.seek(Number(event.target.value)));
    byId("speed").append(...SPEEDS.map((speed) => {
      const option = element("option", "", `${speed} / s`);
      option.value = String(speed);
      return option;
    }));
    byId("speed").addEventListener("change", (event) => this.setSpeed(Number(event.target.value)));
    byId("game").append(...this.heads.map((head, index) => {
      const option = element("option", "", `${index + 1}. ${head.label}`);
      option.value = String(index);
      return option;
    }));
    byId("game").addEventListener("change", (event) => this.choose(Number(event.target.value)));
    byId("game").parentElement.hidden = this.heads.length < 2;
    byId("compare").hidden = this.heads.length < 2;
    this.setSpeed(this.speed);
    this.toggleTheme = startTheme(byId("theme"), () => {
      for (const panel of this.panels) panel.view.readTheme();
      this.draw();
    });
    addEventListener("resize", () => this.layout());
    startKeys(this);
  }

  // Put games on the stage: one panel each; players are their views, -1 for the whole board.
  async stage(indices, players) {
    const games = await Promise.all(indices.map((index) => this.game(index)));
    this.shown = indices;
    const handlers = (position) => ({
      onSeek: (frame) => this.seek(games[position].first + frame),
      onChange: () => this.draw(),
    });
    byId("stage").replaceChildren();
    byId("stage").classList.toggle("double", games.length === 2);
    this.panels = games.map((game, position) => new Panel(byId("stage"), handlers(position)));
    this.panels.forEach((panel, position) => panel.setGame(games[position], players[position]));
    this.first = Math.min(...games.map((game) => game.first));
    this.last = Math.max(...games.map((game) => game.last));
    Object.assign(byId("timeline"), { min: String(this.first), max: String(this.last) });
    showMarks(byId("marks"), indices[0] === indices[1] ? this.panels.slice(0, 1) : this.panels, this.first, this.last);
    this.moments = [...new Set(games.flatMap((game) => markedMoments(game).map(({ frame }) => game.first + frame)))].sort((a, b) => a - b);
    byId("game").value = String(indices[0]);
    byId("compare").setAttribute("aria-pressed", String(indices.length === 2 && indices[0] !== indices[1]));
    byId("both").setAttribute("aria-pressed", String(indices.length === 2 && indices[0] === indices[1]));
    byId("both").hidden = games[0].players < 2;
    byId("heat").hidden = !games.some((game) => game.likely);
    this.turn = Math.min(Math.max(this.turn, this.first), this.last);
    this.layout();
  }

  async choose(index) {
    this.pause();
    this.turn = 0;
    if (this.shown.length === 2 && this.shown[0] !== this.shown[1] && index === this.shown[1]) return this.stage([index, this.shown[0]], [-1, -1]);
    if (this.shown.length === 2 && this.shown[0] === this.shown[1]) return this.stage([index, index], [0, 1]);
    return this.stage([index, ...this.shown.slice(1)], [-1, -1]);
  }

  toggleBoth() {
    const [index, other] = this.shown;
    return index === other ? this.stage([index], [-1]) : this.stage([index, index], [0, 1]);
  }

  toggleCompare() {
    const [index, other] = this.shown;
    if (this.heads.length < 2) return undefined;
    if (other !== undefined && other !== index) return this.stage([index], [-1]);
    return this.stage([index, (index + 1) % this.heads.length], [-1, -1]);
  }

  flip(option) {
    this.options[option] = !this.options[option];
    byId(option).setAttribute("aria-pressed", String(this.options[option]));
    this.draw();
  }

  setSpeed(speed) {
    this.speed = speed;
    byId("speed").value = String(speed);
    this.startTime = null; // playing goes on from the current turn
  }

  changeSpeed(by) {
    const at = SPEEDS.indexOf(this.speed) + by;
    this.setSpeed(SPEEDS[Math.min(Math.max(at, 0), SPEEDS.length - 1)]);
  }

  toggle() {
    if (this.playing) return this.pause();
    if (this.turn >= this.last) this.turn = this.first;
    this.setPlaying(true);
    this.startTime = null;
    const tick = (time) => {
      if (!this.playing) return;
      if (this.startTime === null) Object.assign(this, { startTime: time, startTurn: this.turn });
      const turn = Math.min(this.startTurn + Math.floor(((time - this.startTime) * this.speed) / 1000), this.last);
      if (turn !== this.turn) this.show(turn);
      if (turn >= this.last) this.pause();
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    return undefined;
  }

  pause() {
    this.setPlaying(false);
  }

  setPlaying(playing) {
    this.playing = playing;
    byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    byId("play-path").setAttribute("d", playing ? PAUSE : PLAY);
    byId("moment").setAttribute("aria-live", playing ? "off" : "polite");
  }

  step(by) {
    this.pause();
    this.seek(this.turn + by);
  }

  // Go to the next (1) or the previous (-1) key moment.
  jump(direction) {
    this.pause();
    const later = this.moments.filter((turn) => (turn - this.turn) * direction > 0);
    if (later.length) this.seek(direction > 0 ? later[0] : later[later.length - 1]);
  }

  seek(turn) {
    this.startTime = null;
    this.show(Math.min(Math.max(turn, this.first), this.last));
  }

  show(turn) {
    this.turn = turn;
    this.draw();
  }

  // Give each board as much room as the window has.
  layout() {
    if (!this.panels.length) return;
    const wide = matchMedia("(min-width: 860px)").matches, double = this.panels.length > 1;
    const top = this.panels[0].find(".board-room").getBoundingClientRect().top + scrollY;
    const scores = double ? 60 + 36 * Math.min(Math.max(...this.panels.map(({ game }) => game.players)), 4) : 0;
    const free = innerHeight - top - document.querySelector(".transport").offsetHeight - 58 - scores;
    const height = wide ? free : innerHeight * (double ? 0.42 : 0.62);
    for (const panel of this.panels) panel.view.fit(panel.find(".board-room").clientWidth, Math.max(height, 260));
    this.draw();
  }

  draw() {
    if (!this.panels.length) return;
    const same = this.shown[0] === this.shown[1];
    this.panels.forEach((panel, position) => {
      const { game } = panel;
      const size = `${game.rows} × ${game.columns} tiles, ${game.players} players`;
      const view = panel.find(".view-select").selectedOptions[0].textContent;
      const title = this.panels.length === 1 ? size : same ? view : game.label;
      panel.show(this.turn - game.first, { ...this.options, title, over: this.turn > game.last });
    });
    byId("timeline").value = String(this.turn);
    byId("timeline").setAttribute("aria-valuetext", `turn ${this.turn} of ${this.last}`);
    byId("turn").textContent = `Turn ${this.turn} / ${this.last}`;
    const share = (this.turn - this.first) / Math.max(this.last - this.first, 1);
    byId("timeline").style.setProperty("--done", `${100 * share}%`);
    const happened = this.panels.slice(0, same ? 1 : 2).flatMap(({ game }) =>
      game.moments.filter(({ frame }) => game.first + frame === this.turn).map((moment) => momentText(game, moment)));
    byId("moment").textContent = happened.join(" · ");
  }
}

async function start() {
  const data = JSON.parse(byId("data").textContent);
  const viewer = new Viewer(data);
  const asked = /^#turn=(\d{1,6})$/.exec(location.hash);
  viewer.turn = asked ? Number(asked[1]) : data.turn;
  const double = data.compare && data.games.length > 1;
  await viewer.stage(double ? [0, 1] : [0], double ? [-1, -1] : [data.player]);
  performance.mark("first-frame");
  globalThis.viewer = viewer; // for the console, and tests
  document.documentElement.dataset.ready = "true";
}

start();
