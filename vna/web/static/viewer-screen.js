// One frame on the canvas: shades of its values, zoom and place. The canvas has the frame's own pixels; the
// browser scales it.

import { shade } from "./viewer-dicom.js";

const LEAST = 0.05;
const MOST = 64;

export class Screen {
  constructor(stage, canvas) {
    this.stage = stage;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.zoom = null; // null: as large as fits
    this.shift = [0, 0];
    this.table = null;
    new ResizeObserver(() => this.place()).observe(stage);
  }

  // The window that is applied where the person chose none.
  static windowOf(picture, frame) {
    if (picture.windows.length) return picture.windows[0];
    if (picture.modality === "CT" && picture.unit === "HU") return { centre: 40, width: 400, kind: "LINEAR", name: "Soft tissue" };
    return Screen.whole(picture, frame);
  }

  static whole(picture, frame) {
    const ends = [frame.low, frame.high].map((stored) => stored * picture.slope + picture.intercept);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    return { centre: (low + high) / 2, width: high - low || 1, kind: "LINEAR_EXACT", name: "Full range" };
  }

  draw(picture, frame, window, inverted) {
    if (this.canvas.width !== frame.columns || this.canvas.height !== frame.rows || !this.image) {
      this.canvas.width = frame.columns;
      this.canvas.height = frame.rows;
      this.image = this.context.createImageData(frame.columns, frame.rows);
    }
    this.aspect = frame.rendered ? (picture.aspect * picture.rows * frame.columns) / (picture.columns * frame.rows) : picture.aspect;
    const out = new Uint32Array(this.image.data.buffer);
    if (frame.rgba) {
      const flip = inverted ? 0x00ffffff : 0;
      const from = new Uint32Array(frame.rgba.buffer);
      for (let at = 0; at < out.length; at++) out[at] = from[at] ^ flip;
    } else {
      this.#shades(picture, frame, window, inverted !== picture.inverse, out);
    }
    this.context.putImageData(this.image, 0, 0);
    this.place();
  }

  // Each stored value between the least and the greatest is shaded once, unless there are too many.
  #shades(picture, { stored, low, high }, window, flip, out) {
    const toGrey = shade(window);
    const grey = (one) => {
      const level = Math.min(255, Math.max(0, Math.floor(toGrey(one * picture.slope + picture.intercept) + 0.5)));
      const shown = flip ? 255 - level : level;
      return (0xff000000 | (shown << 16) | (shown << 8) | shown) >>> 0;
    };
    if (high - low > 0xffff) {
      for (let at = 0; at < out.length; at++) out[at] = grey(stored[at]);
      return;
    }
    const table = Uint32Array.from({ length: high - low + 1 }, (_, at) => grey(low + at));
    // Padding alone lies outside of the range.
    const padding = grey(Math.min(picture.data["00280120"]?.Value?.[0] ?? low, low));
    for (let at = 0; at < out.length; at++) out[at] = table[stored[at] - low] ?? padding;
  }

  get fit() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.max(LEAST, Math.min(clientWidth / this.canvas.width, clientHeight / (this.canvas.height * (this.aspect ?? 1))));
  }

  get scale() { return this.zoom ?? this.fit; }

  place() {
    const [x, y] = this.shift;
    const scale = this.scale;
    const left = (this.stage.clientWidth - this.canvas.width * scale) / 2 + x;
    const top = (this.stage.clientHeight - this.canvas.height * scale * (this.aspect ?? 1)) / 2 + y;
    this.canvas.style.transform = `translate(${left}px, ${top}px) scale(${scale}, ${scale * (this.aspect ?? 1)})`;
  }

  // Zoom so that what lies at a place of the stage stays there.
  zoomBy(factor, at = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const before = this.scale;
    this.zoom = Math.min(MOST, Math.max(LEAST, before * factor));
    const grown = this.zoom / before;
    const middle = [this.stage.clientWidth / 2, this.stage.clientHeight / 2];
    this.shift = this.shift.map((shift, axis) => (shift + middle[axis] - at[axis]) * grown + at[axis] - middle[axis]);
    this.place();
  }

  pan(x, y) {
    this.shift = [this.shift[0] + x, this.shift[1] + y];
    this.place();
  }

  reset(zoom = null) {
    this.zoom = zoom;
    this.shift = [0, 0];
    this.place();
  }

  // Column and row of the pixel at a place of the window, or null.
  pixelAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((clientX - box.left) / box.width) * this.canvas.width);
    const row = Math.floor(((clientY - box.top) / box.height) * this.canvas.height);
    return column >= 0 && row >= 0 && column < this.canvas.width && row < this.canvas.height ? [column, row] : null;
  }
}
