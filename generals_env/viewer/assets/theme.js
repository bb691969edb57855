// Makes the page light or dark: as the system is, until the reader chooses.

const STORE = "generals-env-theme";

function stored() {
  try {
    return localStorage.getItem(STORE);
  } catch {
    return null; // a page in a frame without storage
  }
}

// Set the theme, and change it with `button`; onChange() runs after each change. Returns the function that changes it.
export function startTheme(button, onChange) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let choice = stored();
  const apply = () => {
    const dark = choice ? choice === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
    onChange();
  };
  const toggle = () => {
    choice = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(STORE, choice);
    } catch {
      // the choice holds until the page is left
    }
    apply();
  };
  system.addEventListener("change", apply);
  button.addEventListener("click", toggle);
  apply();
  return toggle;
}
