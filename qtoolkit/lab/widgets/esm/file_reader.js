// What a reader of a compressed file checks before it decodes anything: qtoolkit.compression.container, up to the checksum.

const START = 10;

/** CRC-32 as zlib computes it, of the bytes from `from` on. */
export function crc32(data, from = 0) {
  let crc = 0xffffffff;
  for (let i = from; i < data.length; i++) {
    crc ^= data[i];
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** A LEB128 number at `at`: {value, next}, or null where the file ends or the number is malformed. */
export function varintAt(data, at) {
  let value = 0, scale = 1;
  for (let i = at; i < data.length && i < at + 9; i++, scale *= 128) {
    value += (data[i] & 127) * scale;
    if (data[i] < 128) return data[i] === 0 && i > at ? null : { value, next: i + 1 };
  }
  return null;
}

/** Why the reader refuses these bytes, in a word: "magic", "version", "short", "length", "checksum"; "" if it goes on to decode them. */
export function refusal(data) {
  const magic = [81, 84, 68, 67];
  if (data.length < 4 || magic.some((byte, i) => data[i] !== byte)) return "magic";
  if (data.length < 6) return "short";
  if (data[4] + 256 * data[5] !== 1) return "version";
  if (data.length < START) return "short";
  const length = varintAt(data, START);
  if (!length) return "short";
  if (length.value !== data.length) return "length";
  const stored = data[6] + 256 * data[7] + 65536 * data[8] + 16777216 * data[9];
  return crc32(data, START) === stored ? "" : "checksum";
}

/** The file with one thing done to it at byte `at`: "nothing", "flip" (the lowest bit of that byte) or "cut" (everything from there on is gone). */
export function harmed(data, at, harm) {
  if (harm === "cut") return data.slice(0, at);
  const copy = data.slice();
  if (harm === "flip") copy[at] ^= 1;
  return copy;
}
