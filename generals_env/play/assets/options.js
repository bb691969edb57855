// The dialog for a new game: seat, board, rules and speed.
import { element } from "./dom.js";

const SPEEDS = [1, 2, 4, 8, 16];
const RULES = ["live", "competition", ...Array.from({ length: 16 }, (_, index) => `v${18 - index}`)];

function fill(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => {
    const option = element("option", "", text);
    option.value = String(value);
    option.selected = value === chosen;
    return option;
  }));
}

// byId finds elements; facts() returns those of the game; onChoose(values) gets what was chosen. Returns the function that
// opens the dialog.
export function startOptions(byId, facts, onChoose) {
  const dialog = byId("options");
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "yes") return;
    onChoose({
      seat: Number(byId("option-seat").value), rules: byId("option-rules").value, speed: Number(byId("option-speed").value),
      height: Number(byId("option-height").value), width: Number(byId("option-width").value),
    });
  });
  return () => {
    const now = facts();
    fill(byId("option-seat"), now.names.map((_, player) => [player, `Player ${player + 1}`]), now.seat);
    fill(byId("option-rules"), RULES.map((rules) => [rules, rules]), now.rules);
    fill(byId("option-speed"), [...new Set([...SPEEDS, now.speed])].filter(Number.isInteger).sort((a, b) => a - b).map((speed) => [speed, `${speed}${speed === 2 ? " (live game)" : ""}`]), now.speed);
    byId("option-height").value = String(now.rows);
    byId("option-width").value = String(now.columns);
    dialog.returnValue = "";
    dialog.showModal();
  };
}
