// Light, dark, or as the system: chosen by the button, kept for the next page where the browser keeps things.
(() => {
  "use strict";
  const KEY = "ial-bench-theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const SAID = { system: "theme: as the system", light: "theme: light", dark: "theme: dark" };

  function stored() {
    try {
      const found = localStorage.getItem(KEY);
      return found in NEXT ? found : "system";
    } catch {
      return "system"; // storage is switched off
    }
  }

  function apply(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  let theme = stored();
  apply(theme);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.textContent = SAID[theme];
    button.addEventListener("click", () => {
      theme = NEXT[theme];
      apply(theme);
      button.textContent = SAID[theme];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // It then holds for this page alone.
      }
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
