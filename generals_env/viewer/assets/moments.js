// Words and marks of the key moments of a game on the timeline.
import { element } from "./dom.js";

const MAX_CITIES = 40; // more of them say little about a game

// A moment in words.
export function momentText(game, { kind, player, other }) {
  const name = (seat) => game.names[seat];
  if (kind === "general") return `${name(other)} captures ${name(player)}`;
  if (kind === "out") return `${name(player)} leaves the game`;
  if (kind === "draw") return "The game is drawn";
  if (kind === "contact") return `${name(player)} meets ${name(other)}`;
  return kind === "city" ? `${name(player)} takes a city` : `${name(player)} builds a castle`;
}

// The moments of a game that are marked, and that keys step through.
export function markedMoments(game) {
  const cities = game.moments.filter(({ kind }) => kind === "city").length;
  return game.moments.filter(({ kind }) => kind !== "city" || cities <= MAX_CITIES);
}

// Put marks over the timeline; `first` and `last` are the turns of its ends. Marks are pictures: keys step through moments.
export function showMarks(parent, panels, first, last) {
  const marks = [];
  panels.forEach(({ game }, row) => {
    for (const moment of markedMoments(game)) {
      const mark = element("span", `mark ${moment.kind}`);
      const turn = game.first + moment.frame;
      const actor = moment.kind === "general" ? moment.other : moment.player;
      mark.style.left = `${(100 * (turn - first)) / Math.max(last - first, 1)}%`;
      mark.style.setProperty("--color", actor >= 0 ? `var(--player-${actor})` : "var(--ink-soft)");
      mark.style.setProperty("--row", String(row));
      mark.title = `Turn ${turn}: ${momentText(game, moment)}`;
      mark.dataset.turn = String(turn);
      marks.push(mark);
    }
  });
  parent.replaceChildren(...marks);
}
