// The API page is static; only its switches and its examples' host need a script.
import { copyButton } from "./dom.js";
import { t, wirePreferences } from "./i18n.js";

for (const code of document.querySelectorAll("pre.ask code")) {
  code.textContent = code.textContent.replaceAll("http://localhost:8000", location.origin);
  code.parentElement.before(copyButton(() => code.textContent, t));
}
wirePreferences(() => {
  for (const button of document.querySelectorAll("button.small")) button.textContent = t("copy");
});
