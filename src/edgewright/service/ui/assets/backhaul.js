// Draws the network in the browser at its real size, so that text never shrinks, and keeps it: a second's update
// changes attributes only. Hovering, focusing or choosing a row (or a node) lights the path of its flow up.
// Told by Python: what = {nodes: [[x 0..1, layer], ...], donors, links: [[u, v, band, Mb/s, name], ...]},
// now = {links: [[Mb/s, up, level], ...], flows: [[source, node, ...] or null, links of the path], ...}.
window.edgewrightNetwork = (() => {
  const NS = "http://www.w3.org/2000/svg", TOP = 40, SIDE = 34;
  let what = null, now = null, svg = null, parts = [], nodes = [], taken = [], width = 0, chosen = null, hovered = null;

  const make = (tag, attributes, parent, words) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (words !== undefined) element.textContent = words;
    parent?.append(element);
    return element;
  };
  const short = (value) => value < 99.95 ? String(+value.toFixed(1)) : value.toFixed(0);

  // Beside its line, where no other label and no node is; in the middle if it can be.
  function free(s, e, bend, across, thick, sides, capacity) {
    const wide = 7 * (`/${short(capacity)}`.length + 4), flat = Math.abs(across[0]) < 0.3;
    let first = null;
    for (const t of [0.5, 0.36, 0.64, 0.25, 0.75]) for (const side of sides) {
      const out = side * (thick / 2 + 5);
      const x = s[0] + (e[0] - s[0]) * t + across[0] * out, anchor = flat ? "middle" : across[0] * out > 0 ? "start" : "end";
      const y = s[1] + (e[1] - s[1]) * t + 4 * t * (1 - t) * bend + across[1] * out + (flat ? (across[1] * out > 0 ? 9 : -1) : 4);
      const left = anchor === "middle" ? x - wide / 2 : anchor === "start" ? x : x - wide;
      const room = [left, y - 12, left + wide, y + 3];
      first ??= { x, y, "text-anchor": anchor };
      if (!taken.some((o) => room[0] < o[2] && room[2] > o[0] && room[1] < o[3] && room[3] > o[1])) {
        taken.push(room);
        return { x, y, "text-anchor": anchor };
      }
    }
    return first;
  }

  function build() {
    const holder = document.querySelector(".network-picture");
    if (!holder || !what) return;
    const layers = 1 + Math.max(...what.nodes.map((node) => node[1]));
    const widest = Math.max(...Array.from({ length: layers }, (_, at) => what.nodes.filter((n) => n[1] === at).length));
    width = Math.max(holder.clientWidth, widest * 30 + 2 * SIDE);
    const R = widest > 10 ? 11 : 14, small = R < 14 ? " small" : "";
    const step = holder.clientWidth > 520 ? 160 : 118, height = TOP + (layers - 1) * step + 36;
    svg?.remove();
    svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, holder);
    const spot = what.nodes.map(([x, layer]) => [SIDE + x * (width - 2 * SIDE), TOP + layer * step]);
    const most = Math.max(...what.links.map((link) => link[3]));
    const pairs = new Map();
    for (const [u, v] of what.links) {
      const key = Math.min(u, v) + "-" + Math.max(u, v);
      pairs.set(key, (pairs.get(key) ?? 0) + 1);
    }
    const texts = what.links.length <= 30 && width / widest > 90;
    taken = spot.map(([x, y]) => [x - R - 4, y - R - 2, x + R + 4, y + R + 2]);
    const used = new Map(), lines = make("g", {}, svg), labels = make("g", {}, svg), dots = make("g", {}, svg);
    parts = what.links.map(([u, v, band, capacity, name], index) => {
      const key = Math.min(u, v) + "-" + Math.max(u, v), twins = pairs.get(key), rank = used.get(key) ?? 0;
      used.set(key, rank + 1);
      const [a, b] = u < v ? [spot[u], spot[v]] : [spot[v], spot[u]];
      const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
      const across = [-(b[1] - a[1]) / length, (b[0] - a[0]) / length];
      const thick = 3.5 + 7 * Math.sqrt(capacity / most);
      const aside = (rank - (twins - 1) / 2) * 15;
      const between = spot.some((s) => s !== a && s !== b && s[1] === a[1] && a[1] === b[1] && (s[0] - a[0]) * (s[0] - b[0]) < 0);
      const bend = between ? 34 : 0; // a link of one layer goes round the nodes between its ends
      const shift = (p) => [p[0] + across[0] * aside, p[1] + across[1] * aside];
      const [s, e] = [shift(a), shift(b)];
      const middle = [(s[0] + e[0]) / 2, (s[1] + e[1]) / 2 + bend];
      const d = `M${s[0]} ${s[1]} Q${middle[0]} ${middle[1] + bend} ${e[0]} ${e[1]}`;
      const group = make("g", { class: "link", "data-link": index }, lines);
      make("title", {}, group, name);
      make("path", { class: "glow", d, "stroke-width": thick + 9 }, group);
      make("path", { class: "body", d, "stroke-width": thick }, group);
      if (band === "sub6") make("path", { class: "core", d, "stroke-width": Math.max(thick - 4, 1.5) }, group);
      const sides = twins > 1 ? [Math.sign(aside)] : [1, -1];
      const label = texts ? make("text", { class: "load", ...free(s, e, bend, across, thick, sides, capacity) }, labels) : null;
      const cross = make("text", { class: "cross", x: middle[0], y: middle[1] + 6, "text-anchor": "middle" }, labels, "✕");
      return { group, label, cross, title: group.querySelector("title") };
    });
    const sources = new Map((now?.flows ?? []).map((flow, index) => [flow.source, index]));
    nodes = spot.map(([x, y], node) => {
      const donor = what.donors.includes(node), flow = sources.get(node);
      const group = make("g", { class: `node${small}${donor ? " donor" : ""}`, ...(flow === undefined ? {} : { "data-flow": flow }) }, dots);
      if (donor) make("rect", { x: x - R - 2, y: y - R, width: 2 * R + 4, height: 2 * R, rx: 4 }, group);
      else make("circle", { cx: x, cy: y, r: R }, group);
      make("text", { x, y: y + 4.5, "text-anchor": "middle" }, group, node);
      if (donor) make("text", { class: "role", x, y: y - R - 7, "text-anchor": "middle" }, group, "donor");
      return group;
    });
    paint();
  }

  function paint() {
    if (!svg || !now) return;
    const flow = now.flows[hovered ?? chosen], path = new Set(flow?.links ?? []), on = new Set(flow?.nodes ?? []);
    if (flow) on.add(flow.source);
    svg.classList.toggle("picked", Boolean(flow));
    now.links.forEach(([load, up, level], index) => {
      const { group, label, cross, title } = parts[index], [, , , capacity, name] = what.links[index];
      group.setAttribute("class", `link ${up ? level : "broken"}${path.has(index) ? " on" : ""}`);
      title.textContent = `${name}: ${up ? `${short(load)} of ${short(capacity)} Mb/s` : "broken"}`;
      cross.style.display = up ? "none" : "";
      if (label) {
        label.textContent = up ? `${short(load)}/${short(capacity)}` : "broken";
        label.setAttribute("class", `load ${up ? level : "broken"}${path.has(index) ? " on" : ""}`);
      }
    });
    nodes.forEach((group, node) => group.classList.toggle("on", on.has(node)));
    for (const row of document.querySelectorAll(".flow-row[data-flow]"))
      row.classList.toggle("chosen", chosen !== null && +row.dataset.flow === chosen);
    const row = hovered ?? chosen;
    for (const group of nodes) group.classList.toggle("source", row !== null && group.dataset.flow === String(row));
  }

  const flowAt = (target) => { const row = target.closest?.("[data-flow]"); return row ? +row.dataset.flow : null; };
  const hover = (event) => { const flow = flowAt(event.target); if (flow !== hovered) { hovered = flow; paint(); } };
  const choose = (event) => {
    const flow = flowAt(event.target);
    if (flow !== null) { chosen = flow === chosen ? null : flow; hovered = null; paint(); }
  };
  document.addEventListener("mouseover", hover);
  document.addEventListener("focusin", hover);
  document.addEventListener("focusout", () => { hovered = null; paint(); });
  document.addEventListener("click", choose);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches?.(".flow-row")) choose(event);
    if (event.key === "Escape") { chosen = hovered = null; paint(); }
  });
  let asked = 0;
  addEventListener("resize", () => { cancelAnimationFrame(asked); asked = requestAnimationFrame(build); });

  return {
    reset(drawing, state) { what = drawing; now = state; build(); },
    show(state) { now = state; paint(); },
  };
})();
