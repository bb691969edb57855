// Shows what an agent did: its action, reward, value and likeliest actions.
import { element } from "./dom.js";
import { UNKNOWN } from "./game.js";

const DIRECTIONS = ["↑", "↓", "←", "→"];
const SHOWN = 4; // of the likeliest actions
const MANY = 4; // players: more are shown one at a time

function number(value, digits) {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−");
}

// An action in words: its tile as row and column, its direction, and whether it sends half.
export function actionText(game, action) {
  if (!action) return "–";
  if (action.kind === "pass") return "pass";
  if (action.kind === "unknown") return "not recorded";
  const place = (tile) => `${Math.floor(tile / game.columns)},${tile % game.columns}`;
  if (action.kind === "build") return `castle on ${place(action.from)}`;
  const direction = [0, 1, 2, 3].find((way) => game.target(action.from, way) === action.to);
  return `${place(action.from)} ${DIRECTIONS[direction]}${action.half ? " half" : ""}`;
}

// Make a block for each player.
export function makeAgents(panel) {
  const { game } = panel;
  const recorded = game.rewards || game.values || game.likely || game.actions.kinds.some((kind) => kind !== UNKNOWN);
  panel.find(".agent-card").hidden = !recorded;
  panel.agents = [];
  if (!recorded) return;
  panel.agents = game.names.map((name, player) => {
    const block = element("div", "agent"), head = element("p", "agent-name"), swatch = element("span", "swatch");
    swatch.style.background = `var(--player-${player})`;
    head.append(swatch, element("span", "seat-name", name));
    const facts = element("dl", "facts"), fields = {};
    for (const [key, label, there] of [
      ["action", "Action", true], ["reward", "Reward", game.rewards], ["sum", "Return so far", game.rewards],
      ["value", "Value", game.values],
    ]) {
      if (!there) continue;
      fields[key] = element("dd");
      facts.append(element("dt", "", label), fields[key]);
    }
    const list = element("ol", "likeliest");
    block.append(head, facts, list);
    return { player, block, fields, list };
  });
  panel.find(".agents").replaceChildren(...panel.agents.map(({ block }) => block));
}

// Show the current frame: the action chosen in it, and the reward that follows.
export function showAgents(panel) {
  const { game, frame } = panel;
  const crowded = panel.player < 0 && game.players > MANY;
  panel.find(".agent-hint").hidden = !crowded;
  for (const { player, block, fields, list } of panel.agents) {
    block.hidden = crowded || (panel.player >= 0 && panel.player !== player);
    const at = player * game.turns + frame, played = frame < game.turns;
    const chosen = game.action(frame, player);
    fields.action.textContent = actionText(game, chosen);
    if (fields.reward) {
      fields.reward.textContent = played ? number(game.rewards[at], 3) : "–";
      fields.sum.textContent = number(game.cumulated[player * game.frames + frame], 3);
    }
    if (fields.value) fields.value.textContent = played ? number(game.values[at], 3) : "–";
    const likeliest = game.likeliest(frame, player);
    list.hidden = !likeliest.length;
    list.replaceChildren(...likeliest.slice(0, SHOWN).map(({ action, share }) => {
      const item = element("li"), bar = element("span", "bar"), text = actionText(game, action);
      bar.style.width = `${Math.max(share * 100, 1)}%`;
      if (text === actionText(game, chosen)) item.className = "chosen";
      item.append(bar, element("span", "what", text), element("span", "share", `${Math.round(share * 100)} %`));
      return item;
    }));
  }
}
