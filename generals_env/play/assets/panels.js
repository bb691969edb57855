// The cards beside the board: result, scores, and facts of the game. Names are only ever set as text.
import { element } from "./dom.js";

const byId = (id) => document.getElementById(id);
const TITLES = { won: "Victory", lost: "Defeat", draw: "Draw", limit: "Time is up", failed: "Game broken off" };
const COLORS = { won: "#1f8f4e", lost: "#c03434" };

export function showScores(facts, content) {
  const order = facts.names.map((_, player) => player);
  order.sort((one, other) => content.scores[other].alive - content.scores[one].alive || content.scores[other].army - content.scores[one].army);
  byId("scores").replaceChildren(...order.map((player) => {
    const { army, land, alive } = content.scores[player];
    const row = element("tr"), head = element("th"), name = element("span", "name"), swatch = element("span", "swatch");
    head.scope = "row";
    swatch.style.background = `var(--player-${player})`;
    const classes = `${player === facts.seat ? "own" : ""} ${alive ? "" : "out"}`;
    name.append(swatch, element("span", classes, facts.names[player]));
    head.append(name);
    row.append(head, element("td", "", String(army)), element("td", "", String(land)));
    return row;
  }));
}

export function showFacts(facts) {
  const pairs = [
    ["Rules", facts.rules], ["Board", `${facts.rows} × ${facts.columns}`], ["Turns a second", String(facts.speed)],
    ["Last turn", String(facts.max_turns)], ["Seat", String(facts.seat + 1)], ["Map", facts.id],
  ];
  byId("facts").replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
}

export function showResult(facts, result, scores) {
  const { army, land } = scores[facts.seat];
  const end = `after ${result.turns} turns`;
  const texts = {
    won: `You won ${end}, with ${land} tiles and an army of ${army}.`,
    lost: result.surrendered ? `You surrendered ${end}.` : `You lost ${end}.`,
    draw: `No player won ${end}.`,
    limit: `The game reached its last turn, with ${land} of your tiles and an army of ${army}.`,
    failed: result.reason,
  };
  byId("result-title").textContent = TITLES[result.kind];
  byId("result-text").textContent = texts[result.kind];
  byId("result").style.setProperty("--result", COLORS[result.kind] || "var(--accent)");
  byId("save-gior").hidden = facts.builds; // the format has no castles
}
