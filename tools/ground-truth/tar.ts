/** Reader for the plain tar archives busybox writes: regular files with short names. */

/** Files by name, a leading "./" removed. */
export function readTar(bytes: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let at = 0;
  while (at + 512 <= bytes.length) {
    const header = bytes.subarray(at, at + 512);
    const name = textOf(header.subarray(0, 100));
    if (name === "") break;
    const size = Number.parseInt(textOf(header.subarray(124, 136)).trim() || "0", 8);
    const kind = header[156];
    if (kind === 0 || kind === 0x30) {
      files.set(name.replace(/^\.\//, ""), bytes.slice(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

function textOf(field: Uint8Array): string {
  const end = field.indexOf(0);
  return String.fromCharCode(...field.subarray(0, end < 0 ? field.length : end));
}
