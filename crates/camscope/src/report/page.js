"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { head, entries, charts } = data;
  const at = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  /* How many cards are made at once: the rest follow as one scrolls. */
  const STEP = 120;

  /* Texts are only ever set as texts: names and labels come from files. */
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const draw = (tag, attributes, ...children) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const url = (path) => path.split("/").map(encodeURIComponent).join("/");
  const shown = (value) => (Number.isInteger(value) ? String(value) : value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""));

  const copy = async (text, button) => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  document.title = head.title;
  at("title").textContent = head.title;
  at("made").textContent = head.command;
  at("copy-made").addEventListener("click", (event) => copy(head.command, event.target));

  /* What the two ends of the colours mean. */
  const anySigned = entries.some((entry) => entry.signed);
  [at("low").textContent, at("high").textContent] = head.ends ?? (anySigned ? ["against", "for"] : ["least", "most"]);

  /* Colormaps: each a filter that gives every grey its colour. */
  head.colormaps.forEach((map, number) => {
    const transfer = draw("feComponentTransfer", {});
    ["R", "G", "B"].forEach((channel, index) => {
      transfer.append(draw(`feFunc${channel}`, { type: "table", tableValues: map.channels[index].join(" ") }));
    });
    const filter = { id: `map${number}`, x: "0", y: "0", width: "1", height: "1", "color-interpolation-filters": "sRGB" };
    at("filters").append(draw("filter", filter, transfer));
    at("colormap").append(make("option", { value: number }, map.name));
  });
  const root = document.documentElement;
  const colour = () => {
    const number = Number(at("colormap").value);
    const diverging = head.colormaps.findIndex((map) => map.diverging);
    const signed = head.colormaps[number].diverging || diverging < 0 ? number : diverging;
    root.style.setProperty("--map", `url(#map${number})`);
    root.style.setProperty("--map-signed", `url(#map${signed})`);
    const [red, green, blue] = head.colormaps[anySigned ? signed : number].channels;
    const stops = red.map((share, at) => `rgb(${[share, green[at], blue[at]].map((part) => Math.round(part * 255)).join(" ")})`);
    root.style.setProperty("--scale", `linear-gradient(to right, ${stops.join(",")})`);
  };
  const weigh = () => {
    root.style.setProperty("--opacity", at("opacity").value / 100);
    at("percent").textContent = `${at("opacity").value} %`;
  };
  at("colormap").value = Math.max(0, head.colormaps.findIndex((map) => map.name === head.colormap));
  at("opacity").value = Math.round(head.opacity * 100);
  at("always").checked = matchMedia("(hover: none)").matches;
  const always = () => at("pictures").classList.toggle("always", at("always").checked);
  colour();
  weigh();
  always();
  at("colormap").addEventListener("change", colour);
  at("opacity").addEventListener("input", weigh);
  at("always").addEventListener("change", always);

  /* What can be filtered and sorted by is what the pictures have. */
  const classes = new Map();
  const numbers = new Set();
  for (const entry of entries) {
    if (!entry.error) classes.set(entry.class, (classes.get(entry.class) ?? 0) + 1);
    for (const [name] of entry.numbers) numbers.add(name);
  }
  const failures = entries.filter((entry) => entry.error).length;
  at("class").append(make("option", { value: "all" }, `all (${entries.length})`));
  const names = [...classes.keys()].sort((a, b) => a.localeCompare(b));
  names.forEach((name, number) => at("class").append(make("option", { value: number }, `${name} (${classes.get(name)})`)));
  if (failures) at("class").append(make("option", { value: "failed" }, `failed (${failures})`));
  const orders = [["order of the run", null, 1], ["name", null, 0]];
  for (const name of numbers) orders.push([`${name}, highest first`, name, -1], [`${name}, lowest first`, name, 1]);
  orders.forEach(([name], number) => at("sort").append(make("option", { value: number }, name)));

  const value = (entry, name) => entry.numbers.find(([own]) => own === name)?.[1];
  let list = entries;
  let made = 0;

  const card = (entry) => {
    const article = make("article", {});
    if (entry.error) {
      article.append(make("p", { class: "failed" }, entry.error));
    } else {
      const picture = make("button", { type: "button", class: "picture", "aria-pressed": "false" });
      const about = `${entry.name}: heat for ${entry.class}`;
      if (entry.photo) picture.append(make("img", { src: url(entry.photo), loading: "lazy", decoding: "async", alt: `${entry.name}, the photo` }));
      if (entry.heat) {
        const kind = `heat${entry.signed ? " signed" : ""}${entry.photo ? "" : " alone"}`;
        picture.append(make("img", { src: url(entry.heat), loading: "lazy", decoding: "async", class: kind, alt: about }));
      }
      picture.setAttribute("aria-label", `${about}; press to keep it shown`);
      picture.addEventListener("click", () => {
        picture.setAttribute("aria-pressed", String(picture.getAttribute("aria-pressed") !== "true"));
      });
      article.append(picture);
    }
    const text = make("div", { class: "about" }, make("div", { class: "name" }, entry.name));
    if (entry.class) text.append(make("div", { class: "class" }, entry.class));
    if (entry.words.length) {
      const words = entry.words.map((word, at, all) => make("span", {}, word.replaceAll(" %", "\u00a0%") + (at + 1 < all.length ? " ·" : "")));
      text.append(make("p", { class: "words" }, ...words));
    }
    if (entry.numbers.length) {
      const rows = entry.numbers.map(([name, number]) => make("div", {}, make("dt", {}, name), make("dd", {}, shown(number))));
      text.append(make("dl", { class: "numbers" }, ...rows));
    }
    if (entry.command) {
      const button = make("button", { type: "button", "aria-label": `Copy the command for ${entry.name}` }, "Copy");
      button.addEventListener("click", () => copy(entry.command, button));
      text.append(make("div", { class: "command" }, make("code", { tabindex: "0" }, entry.command), button));
    }
    article.append(text);
    return article;
  };

  const more = () => {
    at("pictures").append(...list.slice(made, made + STEP).map(card));
    made = Math.min(made + STEP, list.length);
    at("more").hidden = made >= list.length;
  };
  const show = () => {
    const chosen = at("class").value;
    list = entries.filter((entry) => {
      if (chosen === "all") return true;
      return chosen === "failed" ? Boolean(entry.error) : !entry.error && entry.class === names[Number(chosen)];
    });
    const [, name, way] = orders[Number(at("sort").value)];
    if (name) {
      const missing = way * Infinity;
      list.sort((a, b) => way * ((value(a, name) ?? missing) - (value(b, name) ?? missing)) || 0);
    } else if (way === 0) {
      list.sort((a, b) => a.name.localeCompare(b.name));
    }
    at("pictures").replaceChildren();
    made = 0;
    more();
    at("count").textContent = `${list.length} of ${entries.length} shown`;
  };
  at("class").addEventListener("change", show);
  at("sort").addEventListener("change", show);
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("more").addEventListener("click", more);
  new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && made < list.length) more(); }, { rootMargin: "800px" }).observe(at("end"));

  /* Arrows go from picture to picture. */
  at("pictures").addEventListener("keydown", (event) => {
    const all = [...at("pictures").querySelectorAll(".picture")];
    const own = all.indexOf(event.target);
    if (own < 0) return;
    const columns = Math.max(1, getComputedStyle(at("pictures")).gridTemplateColumns.split(" ").length);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -own, End: all.length - 1 - own };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    all[Math.min(all.length - 1, Math.max(0, own + step))].focus();
  });

  /* Curves. */
  const HUES = ["#2f7ed8", "#d9730d", "#2c9c69", "#c2417c", "#8a63d2", "#9a8a00", "#00949e", "#b5482a"];
  for (const chart of charts) {
    const points = chart.curves.flatMap(([, own]) => own);
    if (!points.length) continue;
    const range = (axis) => {
      let low = Infinity, high = -Infinity;
      for (const point of points) { low = Math.min(low, point[axis]); high = Math.max(high, point[axis]); }
      return low === high ? [low - 0.5, high + 0.5] : [low, high];
    };
    const [[left, right], [bottom, top]] = [range(0), range(1)];
    const x = (own) => 60 + (340 * (own - left)) / (right - left);
    const y = (own) => 190 - (175 * (own - bottom)) / (top - bottom);
    const svg = draw("svg", { viewBox: "0 0 410 230", role: "img" });
    svg.append(draw("title", {}, `${chart.title}: ${chart.y} over ${chart.x}`));
    svg.append(draw("path", { class: "axis", d: "M60 10V190H402" }));
    const label = (px, py, anchor, text) => svg.append(draw("text", { x: px, y: py, "text-anchor": anchor }, text));
    label(56, 19, "end", shown(top));
    label(56, 193, "end", shown(bottom));
    label(60, 206, "start", shown(left));
    label(400, 206, "end", shown(right));
    label(230, 223, "middle", chart.x);
    svg.append(draw("text", { x: 0, y: 0, "text-anchor": "middle", transform: "translate(12 100) rotate(-90)" }, chart.y));
    const legend = make("ul", { class: "legend" });
    chart.curves.forEach(([name, own], number) => {
      const hue = HUES[number % HUES.length];
      const path = own.map(([px, py], index) => `${index ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
      svg.append(draw("path", { d: path, fill: "none", stroke: hue, "stroke-width": 2 }));
      const mark = make("i", {});
      mark.style.background = hue;
      legend.append(make("li", {}, mark, name));
    });
    at("charts").append(make("div", { class: "chart" }, make("h2", {}, chart.title), svg, legend));
    at("curves").hidden = false;
  }
  /* On a narrow page they would push the pictures away. */
  at("curves").open = !matchMedia("(max-width: 560px)").matches;

  show();
})();
