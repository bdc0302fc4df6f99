"use strict";
/* What a server cannot know: the look of the browser; links that stay on the page; zoom and pan. */
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    segfocal: {
      look: (_, before) => {
        const now = dark.matches ? "dark" : "light";
        return now === before ? window.dash_clientside.no_update : now;
      },
    },
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="?"]');
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState({}, "", link.getAttribute("href"));
    window.dispatchEvent(new PopStateEvent("popstate"));
  });

  const view = { scale: 1, x: 0, y: 0 };
  const stacks = () => document.querySelectorAll(".stack");
  const move = () => {
    for (const image of document.querySelectorAll(".stack img"))
      image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  };
  const zoom = (factor, x = 0, y = 0) => {
    const next = Math.min(16, Math.max(1, view.scale * factor));
    view.x = next === 1 ? 0 : x - ((x - view.x) * next) / view.scale;
    view.y = next === 1 ? 0 : y - ((y - view.y) * next) / view.scale;
    view.scale = next;
    move();
  };
  const pan = (dx, dy) => {
    view.x += dx;
    view.y += dy;
    move();
  };
  const keys = {
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => zoom(1 / 16),
    ArrowLeft: () => pan(20, 0), ArrowRight: () => pan(-20, 0), ArrowUp: () => pan(0, 20), ArrowDown: () => pan(0, -20),
  };
  document.addEventListener("keydown", (event) => {
    if (!event.target.closest?.(".stack") || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("wheel", (event) => {
    const stack = event.target.closest?.(".stack");
    if (!stack || (!event.ctrlKey && view.scale === 1 && event.deltaY > 0)) return; // the page may scroll on
    event.preventDefault();
    const box = stack.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  document.addEventListener("pointerdown", (event) => {
    const stack = event.target.closest?.(".stack");
    if (!stack) return;
    event.preventDefault();
    stack.focus();
    stack.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", (event) => {
    const stack = event.target.closest?.(".stack");
    if (stack?.hasPointerCapture(event.pointerId)) pan(event.movementX, event.movementY);
  });
  new MutationObserver(() => {
    // Dash hides these from screen readers but not from the tabulator
    for (const input of document.querySelectorAll('.dash-dropdown-focus-target[tabindex="0"]')) input.tabIndex = -1;
    if (view.scale !== 1 && stacks().length) move(); // pictures that came later take the same place
  }).observe(document, { childList: true, subtree: true });
})();
