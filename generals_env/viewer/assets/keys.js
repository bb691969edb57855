// The keyboard: what each key does, and the list of keys in the help.
import { element } from "./dom.js";

export function startKeys(viewer) {
  const click = (id) => () => !document.getElementById(id).hidden && document.getElementById(id).click();
  const view = (player) => () => {
    for (const panel of viewer.panels.slice(0, 1)) if (player < panel.game.players) panel.look(player);
  };
  const nextView = () => {
    const [panel] = viewer.panels;
    panel.look(panel.player + 1 < panel.game.players ? panel.player + 1 : -1);
  };
  // Keys, what they do in words, and what they do.
  const keys = [
    [[" ", "k"], "Space", "play or pause", () => viewer.toggle()],
    [["ArrowLeft"], "←", "one turn back", () => viewer.step(-1)],
    [["ArrowRight"], "→", "one turn on", () => viewer.step(1)],
    [["Shift+ArrowLeft", "PageDown"], "Shift ←", "25 turns back", () => viewer.step(-25)],
    [["Shift+ArrowRight", "PageUp"], "Shift →", "25 turns on", () => viewer.step(25)],
    [["Home"], "Home", "first turn", () => viewer.step(-Infinity)],
    [["End"], "End", "last turn", () => viewer.step(Infinity)],
    [["["], "[", "previous key moment", () => viewer.jump(-1)],
    [["]"], "]", "next key moment", () => viewer.jump(1)],
    [["ArrowUp", "+", "="], "+", "faster", () => viewer.changeSpeed(1)],
    [["ArrowDown", "-"], "−", "slower", () => viewer.changeSpeed(-1)],
    [["0"], "0", "whole board", view(-1)],
    ...Array.from({ length: 9 }, (_, seat) => [[String(seat + 1)], seat ? "" : "1 – 9", seat ? "" : "the board as a player sees it", view(seat)]),
    [["v"], "v", "next player's view", nextView],
    [["b"], "b", "both seats side by side", click("both")],
    [["c"], "c", "compare two games", click("compare")],
    [["a"], "a", "last moves", click("arrows")],
    [["h"], "h", "probabilities of the policy", click("heat")],
    [["t"], "t", "light or dark", () => viewer.toggleTheme()],
    [["?"], "?", "this list", click("help-open")],
  ];
  document.getElementById("keys").append(...keys.filter(([, name]) => name).flatMap(([, name, words]) => {
    const term = element("dt");
    term.append(element("kbd", "", name));
    return [term, element("dd", "", words)];
  }));
  const actions = new Map(keys.flatMap(([names, , , action]) => names.map((name) => [name, action])));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const tag = event.target.tagName;
    if (tag === "SELECT" || (event.key === " " && (tag === "BUTTON" || tag === "SUMMARY"))) return; // the browser's own meaning
    const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = actions.get(name);
    if (!action) return;
    event.preventDefault();
    action();
  });
}
