// Words and marks of the key moments of a game on the timeline.
import { element } from "./dom.js";

const MAX_MARKS = 150; // of one kind

// A moment in words.
export function momentText(game, { kind, player, other }) {
  const name = (seat) => game.names[seat];
  if (kind === "general") return `${name(other)} captures ${name(player)}`;
  if (kind === "out") return `${name(player)} leaves the game`;
  if (kind === "draw") return "The game is drawn";
  if (kind === "contact") return `${name(player)} meets ${name(other)}`;
  return kind === "city" ? `${name(player)} takes a city` : `${name(player)} builds a castle`;
}

// Put marks over the timeline; `first` and `last` are the turns of its ends. Marks are pictures: keys step through moments.
export function showMarks(parent, panels, first, last) {
  const marks = [];
  panels.forEach(({ game }, row) => {
    const counts = {};
    for (const moment of game.moments) {
      counts[moment.kind] = (counts[moment.kind] || 0) + 1;
      if (counts[moment.kind] > MAX_MARKS) continue;
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
