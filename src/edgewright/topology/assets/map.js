import {leaflet as L} from "leaflet";

const data = JSON.parse(document.getElementById("data").textContent);
const {ids, lon, lat} = data;
const MOST = 10;  // ids named in a card
const MANY = 3000;  // links to cells that are hidden until one zooms in
const NEARER = 2;  // zoom levels until they are shown
const DOTS = L.Browser.retina ? 2 : 1;  // as Leaflet's own canvas has it
const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 720px)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const find = selector => document.querySelector(selector);
const placed = i => lon[i] !== null;
const at = i => L.latLng(lat[i], lon[i]);
const number = value => value.toLocaleString("en", {maximumSignificantDigits: 6});

function make(tag, text = "", name = "") {
  return Object.assign(document.createElement(tag), {textContent: text, className: name});
}

// Places in px at zoom 0, once: a zoom then costs a multiplication and an addition a place.
const flat = (lat, lon) => L.CRS.EPSG3857.latLngToPoint(L.latLng(lat, lon), 0);
const X = new Float64Array(ids.length).fill(NaN), Y = new Float64Array(ids.length).fill(NaN);
for (let i = 0; i < ids.length; i++) if (placed(i)) ({x: X[i], y: Y[i]} = flat(lat[i], lon[i]));
const outline = data.region.map(ring => ring.map(([lon, lat]) => flat(lat, lon)));
const bounds = L.latLngBounds(data.region.flat().map(([lon, lat]) => [lat, lon]));
for (let i = 0; i < ids.length; i++) if (placed(i)) bounds.extend(at(i));
const wide = L.bounds([...X.keys()].filter(placed).map(i => L.point(X[i], Y[i])));

// ---- Marks: each is drawn once as a picture of its own, which the map and the legend repeat.
const OUTLINES = {
  square: [[-.85, -.85], [.85, -.85], [.85, .85], [-.85, .85]],
  diamond: [[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]],
  triangle: [[0, -1.1], [1, .75], [-1, .75]],
  down: [[0, 1.1], [1, -.75], [-1, -.75]],
  plus: [[-.35, -1], [.35, -1], [.35, -.35], [1, -.35], [1, .35], [.35, .35], [.35, 1], [-.35, 1], [-.35, .35], [-1, .35], [-1, -.35], [-.35, -.35]],
};
const ink = colour => colour === "#000000" && dark.matches ? "#ffffff" : colour;

function paper(width, height) {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [width * DOTS, height * DOTS];
  pen.scale(DOTS, DOTS);
  return [canvas, pen];
}

function mark({shape, colour}, radius) {
  const half = Math.ceil(radius * 1.1) + 1, [canvas, pen] = paper(2 * half, 2 * half);
  pen.translate(half, half);
  pen.beginPath();
  if (shape === "circle") pen.arc(0, 0, radius, 0, 7);
  else for (const [x, y] of OUTLINES[shape]) pen.lineTo(x * radius, y * radius);
  pen.closePath();
  // A rim of the ground keeps neighbours apart.
  pen.strokeStyle = dark.matches ? "#0e1116" : "#f7f8f9";
  pen.lineWidth = 1.2;
  if (radius >= 2) pen.stroke();
  pen.fillStyle = ink(colour);
  pen.fill();
  return {canvas, half};
}

const clamp = (low, value, high) => Math.min(Math.max(low, value), high);
// A cell's radius follows how far from each other nodes would be, were they spread over the whole.
const apart = Math.max(wide.getSize().x, wide.getSize().y, 1e-3) / Math.sqrt(ids.length);
const radius = layer => Math.max(layer.least, layer.size * clamp(1, .25 * apart * 2 ** map.getZoom(), 5.5));

// ---- Layers, from below. Each draws itself with a pen, the size of its paper and the world's place on it, px.
function stroke(pen, colour, width, dashes = []) {
  pen.strokeStyle = ink(colour);
  pen.lineWidth = width;
  pen.setLineDash(dashes);
  pen.stroke();
}

function links([name, level, colour, width, all]) {
  const ends = all.filter((end, i) => placed(end) && placed(all[i ^ 1])), many = ends.length / 2;
  // Until the visitor says, or comes near, so many would hide what they lead to.
  const later = name.startsWith("cells") && many > MANY;
  return {
    group: "Links", name, level, many, on: !later, later, colour, width,
    draw({pen, right, bottom, scale, x, y}) {
      const paper = L.bounds([0, 0], [right, bottom]);
      let waiting = 0;
      pen.beginPath();
      for (let i = 0; i < ends.length; i += 2) {
        const ax = X[ends[i]] * scale - x, ay = Y[ends[i]] * scale - y;
        const bx = X[ends[i + 1]] * scale - x, by = Y[ends[i + 1]] * scale - y;
        if (ax < 0 && bx < 0 || ay < 0 && by < 0 || ax > right && bx > right || ay > bottom && by > bottom) continue;
        const line = L.LineUtil.clipSegment(L.point(ax, ay), L.point(bx, by), paper);
        if (!line) continue;
        pen.moveTo(line[0].x, line[0].y);
        pen.lineTo(line[1].x, line[1].y);
        if (++waiting % 500) continue;  // the time of a stroke grows faster than the lines in it
        stroke(pen, colour, width);
        pen.beginPath();
      }
      stroke(pen, colour, width);
    },
  };
}

function nodes([name, word, level, colour, shape, size, least, count], from) {
  const to = from + count;
  let many = 0;
  for (let i = from; i < to; i++) many += placed(i);
  return {
    group: "Nodes", name, word, level, many, on: true, colour, shape, size, least, from, to,
    draw({pen, right, bottom, scale, x, y}) {
      const {canvas, half} = mark(this, radius(this));
      const columns = right + 2 * half, taken = new Uint8Array(columns * (bottom + 2 * half));
      for (let i = from; i < to; i++) {
        const left = Math.round(X[i] * scale - x) - half, top = Math.round(Y[i] * scale - y) - half;
        if (!(left > -2 * half && left < right && top > -2 * half && top < bottom)) continue;
        const place = (top + 2 * half) * columns + left + 2 * half;
        if (taken[place]) continue;  // one of its kind is there: from afar they are many in a px
        taken[place] = 1;
        pen.drawImage(canvas, left, top, 2 * half, 2 * half);
      }
    },
  };
}

const region = {
  group: "Region", name: "outline", level: 0, many: "", on: true, colour: "#6b7684", width: 1.5,
  draw({pen, scale, x, y}) {
    pen.beginPath();
    for (const ring of outline) {
      ring.forEach((corner, i) => pen[i ? "lineTo" : "moveTo"](corner.x * scale - x, corner.y * scale - y));
      pen.closePath();
    }
    stroke(pen, this.colour, this.width, [6, 4]);
  },
};
let told = 0;
const points = data.nodes.map(row => nodes(row, (told += row.at(-1)) - row.at(-1)));
const drawn = [...data.links.map(links), ...points].filter(layer => layer.many);
const layers = outline.length ? [region, ...drawn] : drawn;
// A level's links lie on the nodes below it: else cells would hide the rings above them.
const upwards = [...layers].sort((one, other) => one.level - other.level);
const kind = i => points.find(layer => i < layer.to);

const Picture = L.Canvas.extend({
  _draw() {
    const {min} = this._bounds, size = this._bounds.getSize(), origin = this._map.getPixelOrigin().add(min);
    const pen = this._ctx, scale = 2 ** this._map.getZoom();
    const view = {pen, right: size.x, bottom: size.y, scale, x: origin.x, y: origin.y};
    pen.save();
    pen.translate(min.x, min.y);
    for (const layer of upwards) if (layer.on) layer.draw(view);
    pen.restore();
  },
});
const picture = new Picture({padding: .25});
const map = L.map("map", {attributionControl: false, zoomSnap: .25, minZoom: 2, maxZoom: 20});
L.control.scale({imperial: false, maxWidth: 140}).addTo(map);
const whole = () => map.fitBounds(bounds, {padding: [24, 24], maxZoom: 16, animate: !calm.matches});
let home;  // the zoom that shows all, once the map has a size
const redraw = () => { if (home !== undefined) picture._redraw(); };

// ---- The legend switches the layers.
const legend = find("details");
for (const group of ["Nodes", "Links", "Region"]) {
  const set = make("fieldset");
  set.append(make("legend", group));
  for (const layer of layers.filter(layer => layer.group === group).reverse()) {
    const row = make("label"), [canvas, pen] = paper(24, 20);
    layer.box = Object.assign(make("input"), {type: "checkbox", checked: layer.on});
    layer.box.onchange = () => { layer.later = false; show(layer, layer.box.checked); redraw(); };
    layer.sample = () => {
      pen.clearRect(0, 0, 24, 20);
      if (layer.shape) {
        const {canvas, half} = mark(layer, clamp(3.5, 3.2 * layer.size, 7));
        pen.drawImage(canvas, 12 - half, 10 - half, 2 * half, 2 * half);
      } else {
        pen.beginPath();
        pen.moveTo(2, 10);
        pen.lineTo(22, 10);
        stroke(pen, layer.colour, Math.max(layer.width, 1.5), layer === region ? [6, 4] : []);
      }
    };
    layer.sample();
    row.append(layer.box, canvas, make("span", layer.name), make("small", layer.many.toLocaleString("en")));
    if (layer.later) row.title = "Shown from closer up";
    set.append(row);
  }
  if (set.childElementCount > 1) legend.append(set);
}

function show(layer, on) {
  layer.on = layer.box.checked = on;
}

const fold = () => { legend.open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();
dark.addEventListener("change", () => { for (const layer of layers) layer.sample(); redraw(); });

// ---- What is told of a node. Names come from users' files, and are put in as text only.
function card(i, press) {
  const box = make("div", "", "card"), facts = make("dl");
  const tell = (name, value) => facts.append(make("dt", name), value);
  tell("Lat, lon", make("dd", `${lat[i].toFixed(6)}, ${lon[i].toFixed(6)}`));
  for (const [name, unit, values] of data.fields) {
    const value = values[i];
    if (value !== null) tell(name, make("dd", `${typeof value === "number" ? number(value) : value} ${unit}`.trim()));
  }
  const here = [...ids.keys()].filter(j => j !== i && X[j] === X[i] && Y[j] === Y[i]);
  if (here.length) tell("Also here", list(here, press));
  const near = new Set();
  for (const ends of data.links.map(row => row.at(-1))) ends.forEach((end, j) => { if (end === i) near.add(ends[j ^ 1]); });
  tell(`Linked to ${near.size || ""}`.trim(), near.size ? list([...near], press) : make("dd", "nothing"));
  box.append(make("h2", ids[i]), make("p", kind(i).word[0].toUpperCase() + kind(i).word.slice(1), "quiet"), facts);
  return box;
}

function list(numbers, press) {
  const names = make("dd", "", "ids");
  for (const i of numbers.slice(0, MOST)) {
    const pressed = press && placed(i), name = make(pressed ? "button" : "span", ids[i]);
    if (pressed) name.onclick = () => go(i);
    names.append(name);
  }
  if (numbers.length > MOST) names.append(make("span", `and ${numbers.length - MOST} more`));
  return names;
}

const popup = L.popup({minWidth: 250, maxWidth: 290, maxHeight: 280, autoPanPadding: [12, 12]});
const hint = L.tooltip({opacity: 1, offset: [8, 0]});
let opened = -1, hinted = -1, going = 0;

function open(i) {
  unhint();
  popup.setLatLng(at(i)).setContent(card(i, true)).openOn(map);
  opened = i;
}

function unhint() {
  hint.remove();
  hinted = -1;
  map.getContainer().classList.remove("pointing");
}

// Arrows, + and - work then, Escape closes the card, Tab leads into it.
const focus = () => map.getContainer().focus({preventScroll: true});

function go(i) {
  const mine = ++going;
  show(kind(i), true);
  map.closePopup();
  focus();
  map.once("moveend", () => { if (mine === going) open(i); });
  map.flyTo(at(i), Math.max(map.getZoom(), Math.min(home + 4, 17)), {animate: !calm.matches, duration: .8});
}

// The node under a place of the map: the topmost whose mark it is in, or else the nearest.
function under(point, reach) {
  const scale = 2 ** map.getZoom(), origin = map.getPixelOrigin(), x = point.x + origin.x, y = point.y + origin.y;
  let found = -1, least = Infinity;
  for (const layer of [...points].reverse().filter(layer => layer.on)) {
    const size = radius(layer);
    for (let i = layer.from; i < layer.to; i++) {
      const away = Math.hypot(X[i] * scale - x, Y[i] * scale - y);
      if (away < size + reach && away < least) [found, least] = [i, away];
    }
    if (least <= size) break;
  }
  return found;
}

map.getContainer().addEventListener("keydown", event => {
  if (event.key !== "Escape" || opened < 0) return;
  map.closePopup();
  focus();
});
map.on("popupclose", () => { opened = -1; });
map.on("click", event => {
  const i = under(event.layerPoint, event.originalEvent.pointerType === "touch" ? 14 : 5);
  if (i >= 0) open(i);
});
map.getContainer().addEventListener("pointermove", event => {
  if (event.pointerType === "touch" || map.dragging.moving()) return;
  const covered = event.target.closest(".leaflet-control, .leaflet-popup");
  const i = covered ? -1 : under(map.mouseEventToLayerPoint(event), 3);
  if (i === hinted) return;
  unhint();
  if (i < 0) return;
  hinted = i;
  map.getContainer().classList.add("pointing");
  if (i !== opened) hint.setLatLng(at(i)).setContent(card(i, false)).addTo(map);
});
map.on("mouseout movestart zoomstart", unhint);
map.on("zoomend", () => {
  for (const layer of layers) if (layer.later) show(layer, map.getZoom() >= home + NEARER);
});

// ---- The bar above.
const said = find("[role=status]"), sought = find("input[type=search]");
find("form").onsubmit = event => {
  event.preventDefault();
  const text = sought.value.trim(), alike = text.toLowerCase();
  if (!text) return;
  let i = ids.indexOf(text);
  if (i < 0) i = ids.findIndex(id => id.toLowerCase().includes(alike));
  said.textContent = i < 0 ? `No id contains “${text}”.` : placed(i) ? "" : `${ids[i]} has no place, and is not shown.`;
  if (i < 0 || !placed(i)) return;
  go(i);
};
sought.oninput = () => { said.textContent = ""; };
find("form button").onclick = () => whole();

// Within a page the map may have no size until it is looked at.
new ResizeObserver(() => {
  map.invalidateSize();
  if (home !== undefined || !map.getSize().x || !map.getSize().y) return;
  home = map.getBoundsZoom(bounds, false, L.point(48, 48));
  whole();
  picture.addTo(map);
}).observe(map.getContainer());
