// Draws the road to scale at its real size, so that text never shrinks, and keeps it: a second's update changes
// attributes and moves the car along. Boxes with the nodes' numbers stand where they hide neither road nor each other.
// Told by Python: what = {road: [[x, y] m, ...], nodes: [[name, [x, y] m, classes], ...]}, now = {user: [x, y] m or
// null, drive, serving, target: node or null, nodes: [{texts: [round-trip time, load], over: [bool, bool], breach}, ...]}.
window.edgewrightRoad = (() => {
  const NS = "http://www.w3.org/2000/svg", SIDE = 18, EDGE = 3, LINE = 15, TALL = 3 * LINE + 9, R = 6, FOOT = 30;
  const UPDATE_MS = 1000, LONGEST_NAME = 18, GRID = 9, ON_ROAD_M = 5;
  let what = null, now = null, svg = null, parts = {}, spots = [], boxes = [], wide = 0;
  let px = null, from = null, to = null, at = null, asked = 0, began = 0;

  const make = (tag, attributes, parent, words) => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (words !== undefined) element.textContent = words;
    parent?.append(element);
    return element;
  };
  const clamp = (value, low, high) => Math.max(low, Math.min(value, high));
  const apart = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);
  const between = (a, b, t) => [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
  const grown = ([l, t, r, b], by) => [l - by, t - by, r + by, b + by];
  const overlap = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
  const nearest = (p, [l, t, r, b]) => [clamp(p[0], l, r), clamp(p[1], t, b)];

  // Whether a line from a to b meets a box (Liang and Barsky).
  function meets(a, b, [left, top, right, bottom]) {
    let low = 0, high = 1;
    const d = [b[0] - a[0], b[1] - a[1]];
    for (const [p, q] of [[-d[0], a[0] - left], [d[0], right - a[0]], [-d[1], a[1] - top], [d[1], bottom - a[1]]]) {
      if (p === 0 && q < 0) return false;
      if (p < 0) low = Math.max(low, q / p);
      if (p > 0) high = Math.min(high, q / p);
    }
    return low <= high;
  }
  function cross(a, b, c, d) {
    const side = (p, q, r) => Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
    return side(a, b, c) !== side(a, b, d) && side(c, d, a) !== side(c, d, b);
  }

  // Of a box from its node: how far away, and how much aside.
  const far = (dot, box) => apart(dot, nearest(dot, box)) + 0.15 * Math.abs((box[0] + box[2]) / 2 - dot[0]);

  // Places of a box, from its node, nearest first.
  function places(width, height) {
    const found = [];
    for (let x = -wide / 2 - GRID * Math.ceil(width / GRID); x < width; x += GRID)
      for (let y = -TALL / 2 - GRID * Math.ceil(height / GRID); y < height; y += GRID)
        found.push([x, y, far([0, 0], [x, y, x + wide, y + TALL])]);
    return found.sort((a, b) => a[2] - b[2]);
  }

  // A box for each node -> [boxes, what is bad about them]: at its node, off the road, its line over nothing.
  function arrange(road, dots, width, height, offsets) {
    const found = dots.map(() => null), clear = dots.map((dot) => grown([...dot, ...dot], R + 5));
    const price = (node, box, most = Infinity) => {
      if (clear.some((each) => overlap(box, each))) return Infinity;
      if (found.some((each, other) => other !== node && each && overlap(box, grown(each, 5)))) return Infinity;
      const dot = dots[node], end = nearest(dot, box);
      let sum = far(dot, box);
      for (let other = 0; other < dots.length && sum < most; other++) {
        if (other === node) continue;
        if (meets(dot, end, clear[other])) sum += 60;
        if (!found[other]) continue;
        const its = nearest(dots[other], found[other]);
        if (meets(dot, end, found[other]) || meets(dots[other], its, box)) sum += 150;
        if (cross(dot, end, dots[other], its)) sum += 80;
      }
      const near = grown(box, 12);
      return sum < most && road.some((b, i) => i && meets(road[i - 1], b, near)) ? sum + 300 : sum;
    };
    let total = 0;
    for (let round = 0; round < 4; round++) {
      total = 0;
      for (const [node, dot] of dots.entries()) {
        let best = found[node] ? price(node, found[node]) : Infinity;
        for (const [x, y, least] of offsets) {
          if (least - 3 * GRID >= best) break;
          const left = clamp(dot[0] + x, EDGE, width - wide - EDGE), top = clamp(dot[1] + y, EDGE, height - FOOT - TALL);
          if (Math.abs(left - dot[0] - x) >= GRID || Math.abs(top - dot[1] - y) >= GRID) continue;
          const box = [left, top, left + wide, top + TALL], costs = price(node, box, best);
          if (costs < best) { best = costs; found[node] = box; }
        }
        if (best === Infinity) return [found, best];
        total += best;
      }
      for (let a = 0; a < dots.length; a++) for (let b = 0; b < a; b++) { // two lines that cross
        const sum = () => price(a, found[a]) + price(b, found[b]), swap = () => { [found[a], found[b]] = [found[b], found[a]]; };
        const before = sum();
        swap();
        if (!(sum() < before)) swap();
      }
    }
    return [found, total];
  }

  function build() {
    const holder = document.querySelector(".road-picture");
    if (!holder || !what || !holder.clientWidth) return;
    const width = holder.clientWidth;
    watcher.observe(holder);
    svg?.remove();
    svg = make("svg", { width, "aria-hidden": "true" }, holder);
    const names = what.nodes.map(([name]) => name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name);
    const probe = make("text", { class: "name" }, svg);
    const length = (words) => { probe.textContent = words; return probe.getComputedTextLength(); };
    wide = 16 + Math.max(...names.map(length), length("! load 88.8"));
    probe.remove();
    const all = [...what.road, ...what.nodes.map((node) => node[1])];
    const [left, right] = [0, 1].map((end) => Math[end ? "max" : "min"](...all.map((p) => p[0])));
    const [low, high] = [0, 1].map((end) => Math[end ? "max" : "min"](...all.map((p) => p[1])));
    const tallest = width > 520 ? 360 : 300;
    const scale = Math.min((width - 2 * SIDE) / (right - left || 1), tallest / (high - low || 1));
    const aside = (width - (right - left) * scale) / 2;
    const offsets = places(width, tallest + 200);
    let best = null;
    for (let rows = 1; rows <= 2 * what.nodes.length + 2; rows++) { // of boxes above and below
      const above = SIDE + Math.ceil(rows / 2) * (TALL + 12), below = SIDE + Math.floor(rows / 2) * (TALL + 12);
      const height = above + (high - low) * scale + below + FOOT;
      if (rows > (best?.rows ?? Infinity) + 2) break; // more height no longer helps
      const place = ([x, y]) => [aside + (x - left) * scale, above + (high - y) * scale];
      const dots = what.nodes.map((node) => place(node[1])), road = what.road.map(place);
      const [found, bad] = arrange(road, dots, width, height, offsets), sum = bad + height;
      if (!best || sum < best.sum || best.bad === Infinity) best = { rows: bad < Infinity ? rows : Infinity, sum, bad, found, height, place, dots, road };
    }
    ({ place: px, dots: spots, found: boxes } = best);
    svg.setAttribute("height", best.height);
    svg.setAttribute("viewBox", `0 0 ${width} ${best.height}`);
    draw(names, best.road, best.height, scale);
    from = to = at = null;
    paint();
  }

  function draw(names, road, height, scale) {
    const marker = make("marker", { id: "road-arrow", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 4.5, markerHeight: 4.5, orient: "auto" }, make("defs", {}, svg));
    make("path", { d: "M0 0 8 4 0 8z", class: "arrow-head" }, marker);
    const points = road.map((p) => p.join(" ")).join(" ");
    make("polyline", { class: "road-bed", points }, svg);
    make("polyline", { class: "road-middle", points }, svg);
    parts.leaders = spots.map((spot, node) => {
      const end = boxes[node] ? nearest(spot, boxes[node]) : spot;
      return make("line", { class: "leader", x1: spot[0], y1: spot[1], x2: end[0], y2: end[1] }, svg);
    });
    parts.talk = make("line", { class: "talk" }, svg);
    parts.arrow = make("path", { class: "arrow", "marker-end": "url(#road-arrow)" }, svg);
    parts.nodes = spots.map(([x, y], node) => {
      const group = make("g", {}, svg), [l, t] = boxes[node] ?? [x, y];
      make("title", {}, group, what.nodes[node][0]);
      make("rect", { class: "dot", x: x - R, y: y - R, width: 2 * R, height: 2 * R, rx: 2 }, group);
      make("rect", { class: "plate", x: l, y: t, width: wide, height: TALL, rx: 5 }, group);
      make("text", { class: "name", x: l + 8, y: t + LINE + 1 }, group, names[node]);
      const texts = [2, 3].map((line) => make("text", { x: l + 8, y: t + line * LINE + 1 }, group));
      return { group, texts };
    });
    parts.car = make("g", { class: "car" }, svg);
    make("rect", { x: -10, y: -5, width: 20, height: 10, rx: 4 }, parts.car);
    make("rect", { class: "glass", x: 1, y: -3.5, width: 4, height: 7, rx: 1.5 }, parts.car);
    const power = 10 ** Math.floor(Math.log10(110 / scale)), bar = [5, 2, 1].find((n) => n * power * scale <= 110) * power;
    const y = height - 9;
    make("path", { class: "scale", d: `M${EDGE} ${y - 5}V${y}H${EDGE + bar * scale}V${y - 5}` }, svg);
    make("text", { class: "scale-word", x: EDGE + bar * scale + 8, y: y + 1 }, svg, bar < 1000 ? `${bar} m` : `${bar / 1000} km`);
  }

  // Of a place: how far along the road, m, and which way that leads; null where it is not on the road. Where the road
  // meets itself, what is nearest to `before` counts.
  function along(p, before) {
    let best = null, passed = 0;
    for (let i = 1; i < what.road.length; i++) {
      const [a, b] = [what.road[i - 1], what.road[i]], length = apart(a, b);
      const t = length ? clamp(((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) / length ** 2, 0, 1) : 0;
      const here = passed + t * length, jump = Math.abs(here - (before ?? 0));
      if (apart(p, between(a, b, t)) <= ON_ROAD_M && (!best || jump < best.jump)) best = { here, jump };
      passed += length;
    }
    return best && best.here;
  }
  function point(here) {
    let left = here;
    for (let i = 1; i < what.road.length; i++) {
      const length = apart(what.road[i - 1], what.road[i]);
      if (left <= length || i === what.road.length - 1) return between(what.road[i - 1], what.road[i], length ? left / length : 0);
      left -= length;
    }
  }
  const where = (t) => from.here === null || to.here === null
    ? between(from.m, to.m, t) : point(from.here + (to.here - from.here) * t);

  function move(time) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const t = still ? 1 : clamp((time - began) / UPDATE_MS, 0, 1);
    const last = at, m = where(t);
    at = { m, here: from.here === null || to.here === null ? to.here : from.here + (to.here - from.here) * t };
    const [x, y] = px(m);
    if (last && apart(last.m, m) > 0.01) {
      const [u, v] = px(last.m);
      parts.angle = Math.atan2(y - v, x - u) * 180 / Math.PI;
    }
    parts.car.setAttribute("transform", `translate(${x} ${y}) rotate(${parts.angle ?? 0})`);
    parts.talk.setAttribute("x1", x);
    parts.talk.setAttribute("y1", y);
    if (t < 1) asked = requestAnimationFrame(move);
  }

  // The bend that hides least behind boxes.
  function arrow(a, b) {
    const length = apart(a, b) || 1, across = [-(b[1] - a[1]) / length, (b[0] - a[0]) / length];
    let best = null;
    for (const bend of [0.18, -0.18, 0.32, -0.32, 0.08, -0.08]) {
      const c = between(a, b, 0.5).map((value, axis) => value + 2 * bend * Math.min(length, 260) * across[axis]);
      const on = (t) => between(between(a, c, t), between(c, b, t), t);
      const gap = Math.min(0.4, (R + 6) / length), s = on(gap), e = on(1 - gap);
      let bad = Math.abs(bend);
      for (let t = 0.05; t < 1; t += 0.05) {
        const [x, y] = on(t);
        if (boxes.some((box) => box && overlap([x, y, x, y], grown(box, 2)))) bad += 1;
        if (y < 4 || y > svg.height.baseVal.value - FOOT) bad += 3;
      }
      if (!best || bad < best.bad) best = { bad, d: `M${s} Q${c} ${e}` };
    }
    return best.d;
  }

  function paint() {
    if (!svg || !now) return;
    now.nodes.forEach(({ texts, over, breach }, node) => {
      const { group, texts: lines } = parts.nodes[node], serves = node === now.serving;
      group.setAttribute("class", `edge ${what.nodes[node][2]}${serves ? " serves" : ""}${breach ? " breach" : ""}${node === now.target ? " target" : ""}`);
      parts.leaders[node].classList.toggle("serves", serves);
      lines.forEach((line, i) => {
        line.textContent = over[i] ? `! ${texts[i]}` : texts[i];
        line.setAttribute("class", over[i] ? "over" : "");
      });
    });
    const serving = spots[now.serving], target = spots[now.target], user = now.user;
    parts.car.style.display = user ? "" : "none";
    parts.talk.style.display = user && serving ? "" : "none";
    if (serving) {
      parts.talk.setAttribute("x2", serving[0]);
      parts.talk.setAttribute("y2", serving[1]);
      parts.talk.classList.toggle("breach", now.nodes[now.serving].breach);
    }
    parts.arrow.style.display = serving && target && now.serving !== now.target ? "" : "none";
    if (serving && target) parts.arrow.setAttribute("d", arrow(serving, target));
    if (!user) return;
    cancelAnimationFrame(asked);
    const fresh = !at || from.drive !== now.drive;
    to = { m: user, here: along(user, at?.here) };
    from = { ...(fresh ? to : at), drive: now.drive };
    if (fresh) at = null;
    began = performance.now();
    move(fresh ? began + UPDATE_MS : began);
  }

  let resized = 0;
  const watcher = new ResizeObserver(() => { clearTimeout(resized); resized = setTimeout(fit, 100); });
  function fit() {
    const holder = document.querySelector(".road-picture");
    if (holder && svg?.width.baseVal.value !== holder.clientWidth) build();
  }
  return {
    reset(drawing, state) { what = drawing; now = state; build(); },
    show(state) { now = state; paint(); },
  };
})();
