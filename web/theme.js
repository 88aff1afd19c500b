// Runs before the first paint: the chosen theme and language, so that nothing flashes.
(() => {
  const root = document.documentElement;
  const saved = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;  // storage is switched off: the browser's own preferences decide
    }
  };
  const theme = saved("inazuma.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const chosen = saved("inazuma.lang");
  const language = chosen === "ja" || chosen === "en" ? chosen : (navigator.language || "en").startsWith("ja") ? "ja" : "en";
  root.lang = language;
})();
