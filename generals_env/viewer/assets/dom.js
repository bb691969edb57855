// Makes elements of the page. Text of games is only ever set as text, never as HTML.

export function element(name, classes = "", text = "") {
  const made = document.createElement(name);
  made.className = classes;
  made.textContent = text;
  return made;
}
