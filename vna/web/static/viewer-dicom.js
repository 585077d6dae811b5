// What a data set in the DICOM JSON model (PS3.18 F.2) says of its picture. Nothing here touches the page.

export const value = (data, tag) => data?.[tag]?.Value?.[0];
export const values = (data, tag) => data?.[tag]?.Value ?? [];
export const number = (data, tag, otherwise = undefined) => {
  const found = Number(value(data, tag) ?? NaN);
  return Number.isFinite(found) ? found : otherwise;
};
const numbers = (data, tag) => values(data, tag).map(Number).filter(Number.isFinite);

export function text(data, tag) {
  const found = value(data, tag);
  if (found === undefined || found === null) return "";
  if (typeof found !== "object") return String(found).trim();
  // Of the three ways to write a name the first that is there; its components in the order they are spoken of.
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] =
    (found.Alphabetic ?? found.Ideographic ?? found.Phonetic ?? "").split("^").map((part) => part.trim());
  const rest = [prefix, given, middle, suffix].filter(Boolean).join(" ");
  return [family, rest].filter(Boolean).join(", ");
}

export function date(data, tag) {
  const found = /^(\d{4})(\d\d)(\d\d)$/.exec(text(data, tag));
  return found ? `${found[1]}-${found[2]}-${found[3]}` : text(data, tag);
}

export function time(data, tag) {
  const found = /^(\d\d)(\d\d)/.exec(text(data, tag));
  return found ? `${found[1]}:${found[2]}` : "";
}

// An attribute of one frame: of its own functional groups, of the shared ones, or of the data set (PS3.3 C.7.6.16).
function scope(data, frame, group, tag) {
  for (const item of [data["52009230"]?.Value?.[frame], data["52009229"]?.Value?.[0]]) {
    const found = item?.[group]?.Value?.[0];
    if (found?.[tag]) return found;
  }
  return data;
}

const VECTOR = { cross: (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]],
                 dot: (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2] };

export class Picture {
  // One frame of one instance: how its pixels lie, what they mean, where it is.
  constructor(data, frame, url) {
    this.data = data;
    this.frame = frame;
    this.url = `${url}/frames/${frame + 1}`;
    this.key = this.url;
    this.frames = Math.max(1, number(data, "00280008", 1));
    this.rows = number(data, "00280010", 0);
    this.columns = number(data, "00280011", 0);
    this.samples = number(data, "00280002", 1);
    this.allocated = number(data, "00280100", 0);
    this.stored = number(data, "00280101", this.allocated);
    this.highBit = number(data, "00280102", this.stored - 1);
    this.signed = number(data, "00280103", 0) === 1;
    this.planar = number(data, "00280006", 0) === 1;
    this.photometric = text(data, "00280004") || "MONOCHROME2";
    this.syntax = text(data, "00083002");
    this.lossy = text(data, "00282110") === "01";
    const rescale = scope(data, frame, "00289145", "00281053");
    this.slope = number(rescale, "00281053", 1) || 1;
    this.intercept = number(rescale, "00281052", 0);
    this.unit = text(rescale, "00281054") || (text(data, "00080060") === "CT" ? "HU" : text(data, "00541001"));
    if (this.unit === "US") this.unit = ""; // unspecified, not ultrasound (PS3.3 C.11.1.1.2)
    this.windows = windowsOf(scope(data, frame, "00289132", "00281050"));
    this.orientation = numbers(scope(data, frame, "00209116", "00200037"), "00200037");
    this.position = numbers(scope(data, frame, "00209113", "00200032"), "00200032");
    const measures = scope(data, frame, "00289110", "00280030");
    this.spacing = [["00280030"], ["00181164"]].map(([tag]) => numbers(measures, tag)).find((s) => s.length === 2);
    this.thickness = number(measures, "00180050");
  }

  get has() { return this.rows > 0 && this.columns > 0 && this.allocated > 0; }
  get grey() { return this.samples === 1 && this.photometric.startsWith("MONOCHROME"); }
  get inverse() { return this.photometric === "MONOCHROME1"; }
  get compressed() { return this.syntax !== "" && !NATIVE.has(this.syntax); }

  // Whether the browser turns the native pixels into a picture; what it does not, the server renders.
  get direct() {
    if (!this.data["7FE00010"]) return false;
    const table = this.data["00283000"] ?? scope(this.data, this.frame, "00289145", "00283000")["00283000"];
    const onlyTable = this.data["00283010"] && !this.windows.length;
    if (this.grey) return !table && !onlyTable && [1, 8, 16, 32].includes(this.allocated);
    // Compressed colour comes decoded to RGB by pixel.
    return this.samples === 3 && this.allocated === 8 && (this.photometric === "RGB" || this.compressed);
  }

  // Height of a pixel in widths of one (PS3.3 C.7.6.3.1.7).
  get aspect() {
    if (this.spacing?.[0] > 0 && this.spacing[1] > 0) return this.spacing[0] / this.spacing[1];
    const ratio = numbers(this.data, "00280034");
    return ratio.length === 2 && ratio[0] > 0 && ratio[1] > 0 ? ratio[0] / ratio[1] : 1;
  }

  // How far along the normal of its plane it lies, in millimetres (PS3.3 C.7.6.2.1.1).
  get depth() {
    if (this.orientation.length !== 6 || this.position.length !== 3) return undefined;
    return VECTOR.dot(VECTOR.cross(this.orientation.slice(0, 3), this.orientation.slice(3)), this.position);
  }

  // Letters at the left, right, top and bottom edge: where the patient's sides are.
  get sides() {
    if (this.orientation.length !== 6) return null;
    const [row, column] = [this.orientation.slice(0, 3), this.orientation.slice(3)];
    return { left: toward(row.map((x) => -x)), right: toward(row), top: toward(column.map((x) => -x)), bottom: toward(column) };
  }

  get modality() { return text(this.data, "00080060"); }
}

const NATIVE = new Set(["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]);

function toward(direction) {
  const names = ["LR", "PA", "HF"]; // x grows to the left, y to the back, z to the head
  return direction
    .map((amount, axis) => ({ size: Math.abs(amount), letter: names[axis][amount > 0 ? 0 : 1] }))
    .filter(({ size }) => size > 0.3)
    .sort((a, b) => b.size - a.size)
    .map(({ letter }) => letter)
    .join("");
}

function windowsOf(data) {
  const centres = numbers(data, "00281050");
  const widths = numbers(data, "00281051");
  const names = values(data, "00281055");
  const kind = text(data, "00281056") || "LINEAR";
  return centres
    .map((centre, at) => ({ centre, width: widths[at], kind, name: names[at] || (at ? `Stored ${at + 1}` : "Stored") }))
    .filter(({ width, kind: of }) => width > 0 && (of !== "LINEAR" || width >= 1));
}

// From a modality value to 0..255 (PS3.3 C.11.2.1.2 and C.11.2.1.3).
export function shade({ centre, width, kind }) {
  if (kind === "SIGMOID") return (x) => 255 / (1 + Math.exp((-4 * (x - centre)) / width));
  if (kind === "LINEAR_EXACT" || width <= 1) {
    const [low, high] = kind === "LINEAR_EXACT" ? [centre - width / 2, centre + width / 2] : [centre - 0.5, centre - 0.5];
    return (x) => (x <= low ? 0 : x > high ? 255 : ((x - centre) / width + 0.5) * 255);
  }
  const [low, high] = [centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2];
  return (x) => (x <= low ? 0 : x > high ? 255 : ((x - (centre - 0.5)) / (width - 1) + 0.5) * 255);
}

// Instances in the order that one scrolls through them: by where they lie, else by their numbers.
export function inOrder(instances, urlOf) {
  const first = instances.map((data) => new Picture(data, 0, urlOf(data)));
  const normal = (one) => one.orientation.map((x) => x.toFixed(2)).join();
  const depths = first.map((one) => one.depth);
  const stack = first.length > 1 && first.every((one) => one.frames === 1 && one.depth !== undefined && normal(one) === normal(first[0]))
    && new Set(depths.map((depth) => depth.toFixed(2))).size === first.length;
  const rank = (one) => number(one.data, "00200013", 1e9);
  const named = (one) => text(one.data, "00080018");
  first.sort((a, b) => (stack ? a.depth - b.depth : rank(a) - rank(b)) || named(a).localeCompare(named(b)));
  // A stack is shown in the direction that its numbers grow in.
  if (stack && rank(first[0]) > rank(first.at(-1))) first.reverse();
  return first.flatMap((one) =>
    Array.from({ length: one.frames }, (_, frame) => (frame ? new Picture(one.data, frame, urlOf(one.data)) : one)));
}

export function framesPerSecond(data) {
  const milliseconds = number(data, "00181063", 0);
  const found = number(data, "00082144", 0) || number(data, "00180040", 0) || (milliseconds > 0 ? 1000 / milliseconds : 0);
  return Math.min(60, Math.max(1, found || 15));
}
