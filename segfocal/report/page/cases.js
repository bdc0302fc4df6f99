"use strict";
/* The case browser: a sorted list, up to four runs side by side, layers, zoom and pan. */
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("case-browser");
  const content = window.SEGFOCAL?.cases;
  if (!place || !content) return;
  const at = (name) => place.querySelector(`[data-part="${name}"]`);
  const runs = [...place.querySelectorAll("select[data-run]")];
  const view = { case: 0, slice: 0, scale: 1, x: 0, y: 0 };

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const chosenRuns = () => runs.map((select) => Number(select.value)).filter((number) => number >= 0);
  const classIndex = () => (at("class").value === "all" ? null : Number(at("class").value));
  const score = (item, run) => {
    const values = item.scores[run] ?? [];
    const index = classIndex();
    const known = (index === null ? values : [values[index]]).filter((value) => typeof value === "number");
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  };
  const shown = (value) => (value === null ? "no score" : value.toFixed(3));
  const difference = (item) => {
    const [first, second] = chosenRuns();
    const values = [score(item, first), second === undefined ? null : score(item, second)];
    return values.includes(null) ? null : values[0] - values[1];
  };

  const known = (value, sign) => (value === null ? Number.MAX_VALUE : sign * value); // what is missing comes last
  const orders = {
    worst: (item) => known(score(item, chosenRuns()[0]), 1),
    best: (item) => known(score(item, chosenRuns()[0]), -1),
    difference: (item) => -Math.abs(difference(item) ?? 0),
    name: () => 0,
  };
  const listed = () => {
    const wanted = at("filter").value.toLowerCase();
    const order = orders[at("sort").value];
    return content.cases
      .map((item, number) => ({ item, number }))
      .filter(({ item }) => item.name.toLowerCase().includes(wanted))
      .sort((a, b) => order(a.item) - order(b.item) || a.item.name.localeCompare(b.item.name, "en"));
  };
  const showList = () => {
    at("list").replaceChildren(
      ...listed().map(({ item, number }) => {
        const gap = difference(item);
        const note = `${shown(score(item, chosenRuns()[0]))}${gap === null ? "" : ` (${gap < 0 ? "" : "+"}${gap.toFixed(3)})`}`;
        const button = make("button", { type: "button" }, make("span", { textContent: item.name }), make("span", { textContent: note }));
        button.setAttribute("aria-current", String(number === view.case));
        button.addEventListener("click", () => {
          view.case = number;
          view.slice = 0;
          showList();
          showPanels();
          at("list").querySelector('[aria-current="true"]')?.focus();
        });
        return make("li", {}, button);
      }),
    );
  };

  const layersOf = (slice) => {
    const index = String(classIndex() ?? 0);
    const layer = at("layer").value;
    const over = { image: null, reference: slice.reference, prediction: slice.prediction };
    const path = layer in over ? over[layer] : slice[layer][index];
    const covering = layer === "probability";
    return [
      ...(covering ? [] : [{ path: slice.image, opacity: 1 }]),
      ...(path ? [{ path, opacity: covering ? 1 : Number(at("opacity").value) / 100 }] : []),
    ];
  };
  const move = () => {
    for (const image of place.querySelectorAll(".stack img"))
      image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    place.classList.toggle("zoomed", view.scale > 1);
    at("zoom").textContent = `${Math.round(100 * view.scale)} %`;
  };
  const zoom = (factor, x = 0, y = 0) => {
    const next = Math.min(16, Math.max(1, view.scale * factor));
    view.x = x - ((x - view.x) * next) / view.scale;
    view.y = y - ((y - view.y) * next) / view.scale;
    if (next === 1) view.x = view.y = 0;
    view.scale = next;
    move();
  };
  const pan = (dx, dy) => {
    view.x += dx;
    view.y += dy;
    move();
  };

  const watch = (stack) => {
    stack.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== stack) return; // the page scrolls on
      event.preventDefault();
      const box = stack.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    stack.addEventListener("pointerdown", (event) => stack.setPointerCapture(event.pointerId));
    stack.addEventListener("pointermove", (event) => {
      if (stack.hasPointerCapture(event.pointerId)) pan(event.movementX, event.movementY);
    });
    stack.addEventListener("keydown", (event) => {
      const keys = { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => zoom(1 / 16),
        ArrowLeft: () => pan(20, 0), ArrowRight: () => pan(-20, 0), ArrowUp: () => pan(0, 20), ArrowDown: () => pan(0, -20) };
      if (event.key in keys) {
        event.preventDefault();
        keys[event.key]();
      }
    });
  };
  const panel = (item, run) => {
    const slices = item.pictures[run] ?? [];
    const slice = slices[Math.min(view.slice, slices.length - 1)];
    const name = content.runs[run].name;
    const head = make("h4", { textContent: `${name}: ${shown(score(item, run))}` });
    if (!slice) return make("div", { className: "panel" }, head, make("p", { className: "soft", textContent: "no pictures of this case" }));
    const what = at("layer").selectedOptions[0].textContent;
    const stack = make("div", { className: "stack", tabIndex: 0 });
    stack.setAttribute("role", "group");
    stack.setAttribute("aria-label", `${item.name}, ${name}: plus and minus zoom, arrows move`);
    layersOf(slice).forEach(({ path, opacity }, number) => {
      const image = make("img", { src: path, alt: number ? `${what} of ${item.name} by ${name}` : `image ${item.name}`, draggable: false });
      image.style.opacity = opacity;
      stack.append(image);
    });
    watch(stack);
    return make("div", { className: "panel" }, head, stack);
  };
  const showPanels = () => {
    const item = content.cases[view.case];
    const most = Math.max(1, ...chosenRuns().map((run) => (item.pictures[run] ?? []).length));
    at("slices").hidden = most < 2;
    at("slice").max = most - 1;
    at("slice").value = view.slice;
    const labels = item.pictures[chosenRuns()[0]] ?? [];
    at("slice-label").textContent = labels[view.slice]?.slice ?? "";
    at("name").textContent = item.name;
    at("panels").replaceChildren(...chosenRuns().map((run) => panel(item, run)));
    const index = String(classIndex() ?? 0);
    const layer = at("layer").value;
    const drawn = chosenRuns().map((run) => item.pictures[run]?.[0]).filter((slice) => slice);
    const missing = ["errors", "probability"].includes(layer) && drawn.some((slice) => !slice[layer][index]);
    at("note").textContent = missing ? "Some pictures of this layer were left out to keep the page small." : "";
    move();
  };

  const showClasses = () => {
    const names = content.classes[chosenRuns()[0]] ?? [];
    const before = at("class").value;
    at("class").replaceChildren(new Option("all (errors of the first)", "all"), ...names.map((name, index) => new Option(name, String(index))));
    at("class").value = [...at("class").options].some((option) => option.value === before) ? before : "all";
  };
  const showAll = () => {
    showList();
    showPanels();
  };

  runs.forEach((select, number) => {
    if (number) select.append(new Option("none", "-1"));
    select.append(...content.runs.map((run, index) => new Option(run.name, String(index))));
    const alike = (index) => String(content.classes[index]) === String(content.classes[0]);
    const other = content.runs.findIndex((run, index) => run.arm !== content.runs[0].arm && alike(index));
    select.value = String(number === 0 ? 0 : number === 1 && other > 0 ? other : -1);
    select.addEventListener("change", () => {
      showClasses();
      showAll();
    });
  });
  for (const part of ["class", "sort", "filter"]) at(part).addEventListener("input", showAll);
  for (const part of ["layer", "opacity"]) at(part).addEventListener("input", showPanels);
  at("slice").addEventListener("input", () => {
    view.slice = Number(at("slice").value);
    showPanels();
  });
  at("in").addEventListener("click", () => zoom(1.25));
  at("out").addEventListener("click", () => zoom(0.8));
  at("reset").addEventListener("click", () => zoom(1 / 16));
  showClasses();
  view.case = listed()[0]?.number ?? 0;
  showAll();
});
