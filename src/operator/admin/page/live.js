// Keeps the figures of /status fresh: asks for the same page every two seconds and puts
// what is different in place. The server writes every figure, and escapes every name.
"use strict";
(() => {
  const PAUSE = 2000, PATIENCE = 5000;
  const mark = document.getElementById("live");
  let failures = 0;
  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch("/status" + location.search, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
        if (!answer.ok) throw new Error(answer.status);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const old of document.querySelectorAll("[data-live]")) {
          const now = fresh.querySelector(`[data-live="${old.dataset.live}"]`);
          if (now && now.outerHTML !== old.outerHTML) old.replaceWith(document.importNode(now, true));
        }
        failures = 0;
      } catch {
        failures += 1;
      }
      mark.className = failures > 1 ? "lost" : "on";
      mark.textContent = failures > 1 ? "no answer" : "live";
    }
    setTimeout(refresh, PAUSE);
  }
  mark.hidden = false;
  setTimeout(refresh, PAUSE);
})();
