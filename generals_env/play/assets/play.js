// The page: shows what the server tells, and sends what the person does.
import { BoardView } from "./board.js";
import { Connection } from "./connection.js";
import { element } from "./dom.js";
import { DIRECTIONS, Hand } from "./hand.js";
import { startOptions } from "./options.js";
import { showFacts, showResult, showScores } from "./panels.js";
import { startTheme } from "./theme.js";
import { Zoom } from "./zoom.js";

const byId = (id) => document.getElementById(id);
const view = new BoardView(byId("board"));
const zoom = new Zoom(byId("room"), view, (tile) => hand.tap(tile), draw);
const connection = new Connection(receive, changeConnection);
const send = (content) => connection.send(content);
const hand = new Hand(send, draw);
const openOptions = startOptions(byId, () => hand.facts, (values) => send({ do: "again", ...values }));
let overlay = "Connecting"; // its title, null while it is hidden
let bannerTimer = 0;

// --- What the server tells ------------------------------------------------------------------------------------------

function receive(content) {
  if (content.type === "preparing") return showPreparing(content.seconds);
  if (content.type === "error") return showBanner(content.text, true);
  if (content.type === "taken") {
    return showOverlay("Opened in another tab", "The game goes on there.", "Play here", () => send({ do: "take" }));
  }
  if (content.type === "game") {
    if (hand.facts?.id !== content.id || hand.facts.seat !== content.seat) hand.reset(content);
    hand.facts = content;
    showFacts(content);
    return layout();
  }
  if (content.type === "queue") hand.queue = content.queue;
  else showTurn(content);
  return draw();
}

function showTurn(content) {
  const before = hand.board?.state;
  hand.take(content);
  byId("turn").textContent = `Turn ${content.turn}`;
  showScores(hand.facts, content);
  const over = content.state === "over";
  if (over) hand.select(-1);
  byId("result").hidden = !over;
  if (over) showResult(hand.facts, content.result, content.scores);
  if (content.state === "ready") {
    const others = hand.facts.names.filter((_, player) => player !== hand.facts.seat);
    const against = others.length > 2 ? `${others.length} opponents` : others.join(" and ");
    showOverlay(`Against ${against}`, "The clock starts when you press the button.", "Start", () => send({ do: "start" }));
  } else {
    hideOverlay();
  }
  if (before !== content.state) layout();
}

function showPreparing(seconds) {
  const text = seconds < 2 ? "" : `Compiling the game and loading the agents: ${seconds} s. Later starts are faster.`;
  byId("result").hidden = true;
  showOverlay("Preparing the game", text);
}

function changeConnection(state) {
  if (state === "open") return hideBanner();
  if (state === "refused") {
    showBanner("The server has closed the connection: load the page again.", true);
    return showOverlay("Disconnected", "", "Load again", () => location.reload());
  }
  return showBanner("No connection: the game waits until it is back. If generals-env play has ended, close this page.", true);
}

// --- Overlay and banner ------------------------------------------------------------------------------------------------

function showOverlay(title, text, button = "", action = null) {
  const changed = overlay !== title;
  overlay = title;
  byId("overlay").hidden = false;
  byId("spinner").hidden = Boolean(button);
  byId("overlay-title").textContent = title;
  byId("overlay-text").textContent = text;
  byId("overlay-button").hidden = !button;
  byId("overlay-button").textContent = button;
  byId("overlay-button").onclick = action;
  if (changed && button) byId("overlay-button").focus({ preventScroll: true });
}

function hideOverlay() {
  if (overlay === null) return;
  overlay = null;
  byId("overlay").hidden = true;
  document.activeElement?.blur(); // keys go to the game
}

function showBanner(text, stays = false) {
  clearTimeout(bannerTimer);
  byId("banner").textContent = text;
  byId("banner").hidden = false;
  if (!stays) bannerTimer = setTimeout(hideBanner, 4000);
}

function hideBanner() {
  byId("banner").hidden = true;
}

// --- Board and buttons ---------------------------------------------------------------------------------------------------

function layout() {
  const wide = matchMedia("(min-width: 860px)").matches;
  const height = wide ? innerHeight - byId("room").getBoundingClientRect().top - scrollY - 116 : innerHeight * 0.66;
  zoom.layout(Math.max(height, 240));
  draw();
  zoom.place(zoom.x, zoom.y);
}

function draw() {
  if (!hand.board) return;
  const { rows, columns } = hand.facts;
  const { owner, army, terrain, seen } = hand.board;
  const moves = hand.queue.filter((move) => !move.build);
  const builds = hand.queue.filter((move) => move.build).map((move) => ({ from: move.from, player: hand.facts.seat, build: true }));
  view.draw({ rows, columns, owner, army, terrain, seen, queue: moves, marks: builds, selection: hand.selection, half: hand.half });
  const price = hand.price();
  byId("tile-text").textContent = hand.words();
  byId("half").setAttribute("aria-pressed", String(hand.half));
  byId("half").disabled = !hand.open || hand.selection < 0;
  byId("undo").disabled = byId("clear").disabled = !hand.open || !hand.queue.length;
  byId("build").hidden = !hand.facts.builds;
  byId("build").disabled = !hand.open || price === null;
  byId("price").textContent = price === null ? "" : String(price);
  byId("price").classList.toggle("short", price !== null && army[hand.selection] < price);
  byId("surrender").disabled = hand.board.state !== "playing";
  byId("new").disabled = hand.board.state === "playing";
}

function askToSurrender() {
  if (hand.board?.state !== "playing") return;
  const dialog = byId("leave");
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "yes" && send({ do: "surrender" });
  dialog.showModal();
}

function newGame() {
  if (hand.board && hand.board.state !== "playing") openOptions();
}

// --- Keys ----------------------------------------------------------------------------------------------------------------

const KEYS = [
  [["w", "ArrowUp"], "W ↑", "up", () => hand.go(DIRECTIONS.up)],
  [["a", "ArrowLeft"], "A ←", "left", () => hand.go(DIRECTIONS.left)],
  [["s", "ArrowDown"], "S ↓", "down", () => hand.go(DIRECTIONS.down)],
  [["d", "ArrowRight"], "D →", "right", () => hand.go(DIRECTIONS.right)],
  [["z"], "Z", "the next move sends half", () => hand.toggleHalf()],
  [["e"], "E", "take back the last queued move", () => hand.undo()],
  [["q"], "Q", "take back all queued moves", () => hand.clear()],
  [["b"], "B", "build a castle (competition)", () => hand.build()],
  [["g"], "G", "select the general", () => {
    if (hand.open) hand.select(hand.general());
    draw();
  }],
  [[" ", "Escape"], "Space", "select nothing", () => {
    hand.select(-1);
    draw();
  }],
  [["+", "="], "+ −", "zoom", () => zoom.scale(1.25)],
  [["-"], "", "", () => zoom.scale(0.8)],
  [["n"], "N", "new game", newGame],
  [["t"], "T", "light or dark", () => toggleTheme()],
  [["?"], "?", "this list", () => byId("help").showModal()],
];

const actions = new Map(KEYS.flatMap(([names, , , action]) => names.map((name) => [name, action])));
byId("keys").append(...KEYS.filter(([, name]) => name).flatMap(([, name, words]) => {
  const term = element("dt");
  term.append(element("kbd", "", name));
  return [term, element("dd", "", words)];
}));

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const pressed = event.target.closest("button, a");
  if (pressed && (event.key === " " || event.key === "Enter")) return; // the button's own key
  const action = actions.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  if (!action) return;
  event.preventDefault();
  action();
});

const clicks = {
  half: () => hand.toggleHalf(), undo: () => hand.undo(), clear: () => hand.clear(), build: () => hand.build(),
  "zoom-in": () => zoom.scale(1.25), "zoom-out": () => zoom.scale(0.8), surrender: askToSurrender,
  new: newGame, "result-new": newGame, rematch: () => send({ do: "again" }), "help-open": () => byId("help").showModal(),
};
for (const [id, action] of Object.entries(clicks)) {
  byId(id).addEventListener("click", (event) => {
    if (event.detail) byId(id).blur(); // after a click the space bar belongs to the game again
    action();
  });
}
const toggleTheme = startTheme(byId("theme"), () => {
  view.readTheme();
  draw();
});
addEventListener("resize", layout);
if (location.search) history.replaceState(null, "", "/"); // the token has become a cookie
