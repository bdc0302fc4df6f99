"use strict";
/* Figures: drawn when they come into view, in the look of the page, handed out as SVG; and the look itself. */
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const look = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const remembered = () => {
    try {
      return localStorage.getItem("segfocal-theme");
    } catch {
      return null; // some browsers give a page from disk no storage
    }
  };
  if (remembered()) root.dataset.theme = remembered();

  let loading;
  const plotly = () => {
    loading ??= new Promise((done, failed) => {
      if (window.Plotly) return done(window.Plotly);
      const script = document.createElement("script");
      script.src = "plotly.min.js";
      script.onload = () => done(window.Plotly);
      script.onerror = failed;
      document.head.append(script);
    });
    return loading;
  };

  const layoutOf = (key) => ({
    ...window.SEGFOCAL.figures[key].layout,
    template: window.SEGFOCAL.templates[look()],
    autosize: true,
  });
  const draw = async (place) => {
    const key = place.dataset.figure;
    const figure = window.SEGFOCAL.figures[key];
    const library = await plotly();
    await library.react(place, figure.data, layoutOf(key), { displayModeBar: false, responsive: true });
    place.dataset.drawn = look();
  };
  const redraw = () => {
    for (const place of document.querySelectorAll(".plot[data-drawn]")) draw(place);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const seen = new IntersectionObserver(
      (entries) => {
        for (const entry of entries)
          if (entry.isIntersecting) {
            seen.unobserve(entry.target);
            draw(entry.target);
          }
      },
      { rootMargin: "400px" },
    );
    for (const place of document.querySelectorAll(".plot")) seen.observe(place);

    const toggle = document.getElementById("theme");
    const label = () => (toggle.textContent = look() === "dark" ? "Light" : "Dark");
    toggle.addEventListener("click", () => {
      root.dataset.theme = look() === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("segfocal-theme", root.dataset.theme);
      } catch {
        // not remembered
      }
      label();
      redraw();
    });
    dark.addEventListener("change", () => {
      label();
      redraw();
    });
    label();
  });

  document.addEventListener("click", async (event) => {
    const key = event.target.closest("button[data-svg]")?.dataset.svg;
    if (!key) return;
    const place = document.querySelector(`.plot[data-figure="${key}"]`);
    await draw(place);
    const { width, height } = place.getBoundingClientRect();
    await window.Plotly.downloadImage(place, { format: "svg", filename: key, width, height });
  });
})();
