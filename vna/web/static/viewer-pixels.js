// Frames by WADO-RS (PS3.18 10.4.1.1.3): fetched, decoded into numbers, kept while there is room.

const NATIVE = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1';
const ROOM = 384 * 1024 * 1024;
const AT_ONCE = 4;

export class Problem extends Error {}

export async function ask(url, accept, signal) {
  let answer;
  try {
    answer = await fetch(url, { headers: { Accept: accept }, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("the archive does not answer");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) throw new Problem("your session has ended: load this page again to sign in");
  let reason = `the archive answered ${answer.status}`;
  try {
    reason = (await answer.json()).detail ?? reason;
  } catch { /* an answer that says no more than its status */ }
  throw new Problem(reason);
}

// The bytes of the first part of a multipart/related body (RFC 2046 5.1.1).
function firstPart(bytes, contentType) {
  const boundary = /boundary="?([^";]+)"?/i.exec(contentType)?.[1];
  if (!boundary) return bytes;
  const start = find(bytes, "\r\n\r\n", 0) + 4;
  const mark = `\r\n--${boundary}`;
  const end = find(bytes, mark, Math.max(start, bytes.length - mark.length - 8));
  if (start < 4 || end < start) throw new Problem("the archive's answer is not whole");
  return bytes.subarray(start, end);
}

function find(bytes, word, from) {
  const codes = Array.from(word, (letter) => letter.charCodeAt(0));
  for (let at = from; at <= bytes.length - codes.length; at++) {
    if (bytes[at] === codes[0] && codes.every((code, step) => bytes[at + step] === code)) return at;
  }
  return -1;
}

function unpackBits(bytes, count) {
  return Uint8Array.from({ length: count }, (_, at) => (bytes[at >> 3] >> (at & 7)) & 1);
}

// Stored values without the bits that are none of theirs, signed where they are (PS3.5 8.1.1).
function grey(picture, bytes) {
  const count = picture.rows * picture.columns;
  const { allocated, stored, highBit, signed } = picture;
  if (allocated === 1) return bytes.length * 8 >= count ? unpackBits(bytes, count) : null;
  if (bytes.length < (count * allocated) / 8) return null;
  const room = bytes.slice(0, (count * allocated) / 8).buffer;
  const pixels = { 8: signed ? Int8Array : Uint8Array, 16: signed ? Int16Array : Uint16Array, 32: signed ? Int32Array : Uint32Array }[allocated];
  const found = new pixels(room);
  if (stored < allocated) {
    const [up, down] = [31 - highBit, 32 - stored];
    if (signed) for (let at = 0; at < count; at++) found[at] = (found[at] << up) >> down;
    else for (let at = 0; at < count; at++) found[at] = (found[at] << up) >>> down;
  }
  return found;
}

function colour(picture, bytes) {
  const count = picture.rows * picture.columns;
  if (bytes.length < count * 3) return null;
  const rgba = new Uint8ClampedArray(count * 4).fill(255);
  const [step, plane] = picture.planar && !picture.compressed ? [1, count] : [3, 1];
  for (let at = 0, to = 0, from = 0; at < count; at++, to += 4, from += step) {
    rgba[to] = bytes[from];
    rgba[to + 1] = bytes[from + plane];
    rgba[to + 2] = bytes[from + 2 * plane];
  }
  return rgba;
}

async function direct(picture, signal) {
  const answer = await ask(picture.url, NATIVE, signal);
  const bytes = firstPart(new Uint8Array(await answer.arrayBuffer()), answer.headers.get("Content-Type") ?? "");
  if (picture.grey) {
    const stored = grey(picture, bytes);
    return stored && { columns: picture.columns, rows: picture.rows, stored, ...range(picture, stored) };
  }
  const rgba = colour(picture, bytes);
  return rgba && { columns: picture.columns, rows: picture.rows, rgba };
}

function range(picture, stored) {
  const padding = picture.data["00280120"]?.Value?.[0];
  let [low, high] = [Infinity, -Infinity];
  for (const one of stored) {
    if (one === padding) continue;
    if (one < low) low = one;
    if (one > high) high = one;
  }
  return low > high ? { low: stored[0], high: stored[0] } : { low, high };
}

async function rendered(picture, signal) {
  const answer = await ask(`${picture.url}/rendered`, "image/png, image/jpeg;q=0.9", signal);
  let bitmap;
  try {
    bitmap = await createImageBitmap(await answer.blob());
  } catch {
    throw new Problem("the archive's picture of it cannot be read");
  }
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { columns: width, rows: height, rgba: context.getImageData(0, 0, width, height).data, rendered: true };
}

async function load(picture, signal) {
  if (!picture.has) throw new Problem("the object holds no picture");
  let reason = null;
  if (picture.direct) {
    try {
      const found = await direct(picture, signal);
      if (found) return found;
    } catch (error) {
      if (error.name === "AbortError") throw error;
      reason = error;
    }
  }
  try {
    return await rendered(picture, signal);
  } catch (error) {
    throw error.name === "AbortError" ? error : reason ?? error;
  }
}

export class Frames {
  // Frames by their key. One that is asked for goes before those that are only fetched ahead.
  #known = new Map();
  #room = 0;
  #waiting = [];
  #running = 0;

  peek(picture) { return this.#known.get(picture.key)?.frame; }

  get(picture) { return this.#ask(picture, true); }

  // Fetch these ahead, the first first; what was to be fetched ahead before and is not running is forgotten.
  ahead(pictures) {
    for (const entry of this.#waiting.splice(0)) {
      if (entry.wanted) this.#waiting.push(entry);
      else this.#known.delete(entry.picture.key);
    }
    for (const picture of pictures) this.#ask(picture, false).catch(() => {});
  }

  forget() {
    for (const entry of this.#known.values()) entry.stop.abort();
    this.#known.clear();
    this.#waiting = [];
    this.#room = 0;
  }

  #ask(picture, wanted) {
    // Who scrolls fast waits for the last one asked for, not for all that were passed.
    if (wanted) for (const other of this.#waiting) other.wanted = false;
    let entry = this.#known.get(picture.key);
    if (!entry) {
      entry = { picture, wanted, stop: new AbortController(), size: 0 };
      entry.done = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      this.#known.set(picture.key, entry);
      this.#waiting[wanted ? "unshift" : "push"](entry);
    } else {
      // The one used last is dropped last.
      this.#known.delete(picture.key);
      this.#known.set(picture.key, entry);
      if (wanted && !entry.wanted && this.#waiting.includes(entry)) {
        entry.wanted = true;
        this.#waiting = [entry, ...this.#waiting.filter((other) => other !== entry)];
      }
    }
    this.#run();
    return entry.done;
  }

  #run() {
    while (this.#running < AT_ONCE && this.#waiting.length) {
      const entry = this.#waiting.shift();
      this.#running++;
      load(entry.picture, entry.stop.signal)
        .then((frame) => {
          entry.frame = frame;
          if (this.#known.get(entry.picture.key) === entry) {
            entry.size = (frame.stored ?? frame.rgba).byteLength;
            this.#room += entry.size;
            this.#tidy(entry);
          }
          entry.resolve(frame);
        }, (error) => {
          if (this.#known.get(entry.picture.key) === entry) this.#known.delete(entry.picture.key);
          entry.reject(error);
        })
        .finally(() => { this.#running--; this.#run(); });
    }
  }

  #tidy(kept) {
    for (const [key, entry] of this.#known) {
      if (this.#room <= ROOM) return;
      if (!entry.frame || entry === kept) continue;
      this.#known.delete(key);
      this.#room -= entry.size;
    }
  }
}
