// Makes the report light or dark; all else of the page needs no script.
import { startTheme } from "./theme.js";

startTheme(document.getElementById("theme"), () => {});
document.documentElement.dataset.ready = "true";
