"""A map of images: one HTML file that shows them at their positions, to be moved and zoomed."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_simclr.files import write_whole

JPEG_QUALITY = 75
ACROSS = 16  # pictures a side of a sheet: browsers hold 2048 pixels well


class Point(NamedTuple):
    """An image on the map: its picture uint8 [h, w, 3], its name, what is said of it, and the number of its
    colour."""

    picture: np.ndarray
    name: str
    text: str
    colour: int


def largest_side(count: int) -> int:
    """Pixels of a picture's longer side, so that the page stays below about 5 MB."""
    return 128 if count <= 300 else 96 if count <= 800 else 64


def write_map(
    path: str | os.PathLike[str], title: str, note: str, positions: np.ndarray, points: Sequence[Point]
) -> None:
    """Writes the page, which refers to nothing outside and is allowed to load nothing.

    Args:
      path: of the file; its folder exists.
      title, note: any text, as the points' names.
      positions: float [n, 2] in [0, 1].
      points: n images.
    """
    side = max(max(point.picture.shape[:2]) for point in points)
    a_sheet = ACROSS * ACROSS
    data: dict[str, Any] = {
        "side": side,
        "across": ACROSS,
        "sheets": [_sheet(points[first : first + a_sheet], side) for first in range(0, len(points), a_sheet)],
        "points": [
            {"x": round(float(x), 4), "y": round(float(y), 4), "w": point.picture.shape[1],
             "h": point.picture.shape[0], "name": point.name, "text": point.text, "colour": point.colour}
            for (x, y), point in zip(positions, points, strict=True)
        ],
    }  # fmt: skip
    safe = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # no name ends the script
    page = _PAGE.format(
        title=html.escape(title), note=html.escape(note), style=_STYLE, data=safe, script=_SCRIPT
    )
    write_whole(path, page)


def _sheet(points: Sequence[Point], side: int) -> str:
    """Pictures in cells of `side` pixels, row by row, as a JPEG in a data URI."""
    rows = -(-len(points) // ACROSS)
    sheet = Image.new("RGB", (min(len(points), ACROSS) * side, rows * side))
    for number, point in enumerate(points):
        row, column = divmod(number, ACROSS)
        sheet.paste(Image.fromarray(point.picture), (column * side, row * side))
    file = io.BytesIO()
    sheet.save(file, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


_STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --page: #fff; --line: #d1d9e0; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --page: #0d1117; --line: #3d444d; } }
html, body { height: 100%; margin: 0; overflow: hidden; }
body { color: var(--text); background: var(--page); font: 14px/1.4 system-ui, sans-serif; display: flex;
  flex-direction: column; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline; padding: .5rem 1rem;
  border-bottom: 1px solid var(--line); }
h1 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 0; flex: 1 1 20rem; }
main { flex: 1; position: relative; min-height: 0; }
#map { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: none; cursor: grab; }
#card { position: absolute; margin: 0; max-width: 17rem; padding: .5rem; pointer-events: none;
  background: var(--page); border: 1px solid var(--line); border-radius: 6px; box-shadow: 0 2px 12px #0004; }
#card figcaption { overflow-wrap: anywhere; }
#card b, #card span { display: block; }
"""

_SCRIPT = """
"use strict";
const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const map = element("map"), pen = map.getContext("2d"), card = element("card"), large = element("large");
const sheets = data.sheets.map((source) => {
  const sheet = new Image();
  sheet.onload = draw;
  sheet.src = source;
  return sheet;
});
const pixelated = data.side <= 32;
let view = null, whole = 1, sought = "", shown = null;

function fit() {  // the whole map with a margin
  const { clientWidth: width, clientHeight: height } = map;
  whole = Math.min(width, height) * 0.9;
  const right = Math.max(...data.points.map((point) => point.x));
  const bottom = Math.max(...data.points.map((point) => point.y));
  view = { scale: whole, x: (width - right * whole) / 2, y: (height - bottom * whole) / 2 };
  draw();
}
function magnification() {  // pictures grow more slowly than distances: zooming in parts them
  const room = Math.sqrt((map.clientWidth * map.clientHeight) / data.points.length) * 0.8;
  const size = Math.max(12, Math.min(room, data.side)) * Math.pow(view.scale / whole, 0.6);
  return Math.min(size, 2 * Math.max(data.side, 64)) / data.side;
}
function box(point) {
  const times = magnification(), w = point.w * times, h = point.h * times;
  return { left: view.x + point.x * view.scale - w / 2, top: view.y + point.y * view.scale - h / 2, w, h };
}
function picture(target, number, left, top, w, h) {
  const a_sheet = data.across * data.across, place = number % a_sheet, point = data.points[number];
  const x = (place % data.across) * data.side, y = Math.floor(place / data.across) * data.side;
  target.imageSmoothingEnabled = !pixelated;
  target.drawImage(sheets[Math.floor(number / a_sheet)], x, y, point.w, point.h, left, top, w, h);
}
function matches(point) {
  return (point.name + " " + point.text).toLowerCase().includes(sought);
}
function draw() {
  if (!view) return;
  const ratio = window.devicePixelRatio || 1;
  map.width = map.clientWidth * ratio;
  map.height = map.clientHeight * ratio;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  let drawn = 0;
  data.points.forEach((point, number) => {
    const { left, top, w, h } = box(point);
    if (left > map.clientWidth || top > map.clientHeight || left + w < 0 || top + h < 0) return;
    pen.globalAlpha = matches(point) ? 1 : 0.1;
    if (point.colour >= 0) {
      pen.fillStyle = `hsl(${(point.colour * 137.5) % 360} 75% 50%)`;
      pen.fillRect(left - 2, top - 2, w + 4, h + 4);
    }
    picture(pen, number, left, top, w, h);
    drawn += 1;
  });
  map.dataset.drawn = drawn;
}
function at(x, y) {  // the picture on top there
  for (let number = data.points.length - 1; number >= 0; number -= 1) {
    const { left, top, w, h } = box(data.points[number]);
    if (x >= left && x <= left + w && y >= top && y <= top + h && matches(data.points[number])) return number;
  }
  return null;
}
function show(x, y) {
  const number = at(x, y);
  card.hidden = number === null;
  if (number === null) return;
  if (number !== shown || !large.width) {
    const point = data.points[number], times = 240 / Math.max(point.w, point.h);
    large.width = point.w * times;
    large.height = point.h * times;
    picture(large.getContext("2d"), number, 0, 0, large.width, large.height);
    element("name").textContent = point.name;
    element("text").textContent = point.text;
    shown = number;
  }
  card.style.left = Math.max(0, Math.min(x + 16, map.clientWidth - card.offsetWidth)) + "px";
  card.style.top = Math.max(0, Math.min(y + 16, map.clientHeight - card.offsetHeight)) + "px";
}
function zoom(times, x, y) {
  const scale = Math.max(whole / 4, Math.min(view.scale * times, whole * 60));
  const by = scale / view.scale;
  view = { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
  draw();
}

const fingers = new Map();
map.onpointerdown = (event) => {
  map.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  show(event.offsetX, event.offsetY);
};
map.onpointermove = (event) => {
  const now = { x: event.offsetX, y: event.offsetY }, before = fingers.get(event.pointerId);
  if (!before) return show(now.x, now.y);
  const other = [...fingers.entries()].find(([id]) => id !== event.pointerId);
  if (other) {  // two fingers: their distance zooms around the one that rests
    const rest = other[1], far = (one) => Math.hypot(one.x - rest.x, one.y - rest.y) || 1;
    zoom(far(now) / far(before), rest.x, rest.y);
  } else {
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    draw();
  }
  fingers.set(event.pointerId, now);
  card.hidden = true;
};
map.onpointerup = map.onpointercancel = (event) => fingers.delete(event.pointerId);
map.onpointerleave = () => { card.hidden = true; };
map.onwheel = (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  show(event.offsetX, event.offsetY);
};
element("in").onclick = () => zoom(1.5, map.clientWidth / 2, map.clientHeight / 2);
element("out").onclick = () => zoom(1 / 1.5, map.clientWidth / 2, map.clientHeight / 2);
element("fit").onclick = fit;
element("seek").oninput = (event) => { sought = event.target.value.toLowerCase(); draw(); };
window.onresize = fit;
fit();
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{note}</p>
<label>find <input id="seek" type="search" placeholder="part of a name"></label>
<span><button id="in">+</button> <button id="out">&minus;</button> <button id="fit">all</button></span>
</header>
<main>
<canvas id="map" aria-label="{title}"></canvas>
<figure id="card" hidden><canvas id="large" width="0" height="0"></canvas>
<figcaption><b id="name"></b><span id="text"></span></figcaption></figure>
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""
