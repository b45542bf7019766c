// Fetches the parts of the page that change, and puts each in its place. Without this script the page reloads as a whole.
const pause = document.getElementById("pause");
const away = document.getElementById("away");
let isPaused = false;
let isAsking = false;

async function refresh() {
  if (isPaused || isAsking || document.hidden) return;
  isAsking = true;
  try {
    const response = await fetch("status/live", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`the daemon answered ${response.status}`);
    const fresh = document.createElement("template");
    fresh.innerHTML = await response.text();
    for (const part of fresh.content.querySelectorAll("[data-live]")) document.getElementById(part.id)?.replaceWith(part);
    if (away.textContent) away.textContent = "";
  } catch {
    // Said once, so that nobody is told again every two seconds.
    const gone = "The daemon does not answer; what is shown is what it last said.";
    if (away.textContent !== gone) away.textContent = gone;
  } finally {
    isAsking = false;
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "Go on" : "Pause";
  refresh();
});
setInterval(refresh, 2000);
