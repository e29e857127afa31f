/**
 * Ways in which captures get damaged: by mail programs, by terminals, by cutting, by chance, by
 * malice.
 *
 * Every mutation takes bytes and gives bytes; text mutations work on latin1, so that no byte is
 * lost.
 */
import type { Random } from "./random.js";

type Mutation = (bytes: Buffer, random: Random, other: Buffer) => Buffer;
type LineMutation = (lines: string[], random: Random, other: readonly string[]) => void;

const byLines =
  (mutate: LineMutation): Mutation =>
  (bytes, random, other) => {
    const lines = bytes.toString("latin1").split("\n");
    mutate(lines, random, other.toString("latin1").split("\n"));
    return Buffer.from(lines.join("\n"), "latin1");
  };

const byText =
  (mutate: (text: string, random: Random) => string): Mutation =>
  (bytes, random) =>
    Buffer.from(mutate(bytes.toString("latin1"), random), "latin1");

/** Numbers that tend to sit at the edge of something. */
const EDGES = [
  "0",
  "ffffffff",
  "ffffffffffffffff",
  "10000000000000000",
  "-1",
  "7fffffff",
  "80000000",
];

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  truncate: (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  "cut the beginning": (bytes, random) => bytes.subarray(random.below(bytes.length)),
  "flip bits": (bytes, random) => {
    const out = Buffer.from(bytes);
    for (let i = 1 + random.below(8); i > 0 && out.length > 0; i--) {
      const at = random.below(out.length);
      out[at] = (out[at] ?? 0) ^ (1 << random.below(8));
    }
    return out;
  },
  "random bytes inside": (bytes, random) => {
    const at = random.below(bytes.length);
    const junk = Buffer.from(Array.from({ length: 1 + random.below(64) }, () => random.below(256)));
    return Buffer.concat([bytes.subarray(0, at), junk, bytes.subarray(at)]);
  },
  "zero a region": (bytes, random) => {
    const out = Buffer.from(bytes);
    const at = random.below(out.length);
    return out.fill(0, at, Math.min(out.length, at + random.below(512)));
  },
  "repeat a region": (bytes, random) => {
    const at = random.below(bytes.length);
    const part = bytes.subarray(at, at + random.below(4096));
    const times = 1 + random.below(8);
    return Buffer.concat([bytes.subarray(0, at), ...Array(times).fill(part), bytes.subarray(at)]);
  },
  "splice another file": (bytes, random, other) =>
    Buffer.concat([
      bytes.subarray(0, random.below(bytes.length)),
      other.subarray(random.below(other.length)),
    ]),
  "drop lines": byLines((lines, random) => {
    lines.splice(random.below(lines.length), 1 + random.below(20));
  }),
  "repeat a line": byLines((lines, random) => {
    const at = random.below(lines.length);
    lines.splice(at, 0, ...Array(1 + random.below(50)).fill(lines[at] ?? ""));
  }),
  "swap lines": byLines((lines, random) => {
    const [a, b] = [random.below(lines.length), random.below(lines.length)];
    [lines[a], lines[b]] = [lines[b] ?? "", lines[a] ?? ""];
  }),
  "lines of another file": byLines((lines, random, other) => {
    const from = random.below(other.length);
    lines.splice(random.below(lines.length), 0, ...other.slice(from, from + random.below(30)));
  }),
  "one very long line": byLines((lines, random) => {
    const at = random.below(lines.length);
    lines[at] = (lines[at] ?? "").repeat(1 + random.below(2000)).slice(0, 200_000);
  }),
  "break lines": byLines((lines, random) => {
    const width = 40 + random.below(40);
    for (let i = lines.length - 1; i >= 0; i--) {
      const line = lines[i] ?? "";
      if (line.length > width) lines.splice(i, 1, line.slice(0, width), line.slice(width));
    }
  }),
  "quote lines": byLines((lines, random) => {
    const mark = random.pick(["> ", ">", "> > ", "| ", "    "]);
    for (let i = random.below(lines.length); i < lines.length; i++) lines[i] = mark + lines[i];
  }),
  "change digits": byText((text, random) =>
    text.replace(/[0-9a-f]/g, (digit) =>
      random.below(400) === 0 ? random.below(16).toString(16) : digit,
    ),
  ),
  "numbers at the edge": byText((text, random) =>
    text.replace(/\b[0-9a-f]{2,16}\b/g, (number) =>
      random.below(100) === 0 ? random.pick(EDGES) : number,
    ),
  ),
  "swap signs": byText((text, random) =>
    text.replace(/[+-](?=\s)/g, (sign) =>
      random.below(10) === 0 ? (sign === "+" ? "-" : "+") : sign,
    ),
  ),
  "carriage returns": byText((text) => text.replaceAll("\n", "\r\n")),
  "tabs to blanks": byText((text) => text.replaceAll("\t", "        ")),
  "UTF-16": (bytes) => Buffer.from(`\ufeff${bytes.toString("latin1")}`, "utf16le"),
};

const NAMES = Object.keys(MUTATIONS);

/** One to three mutations of `bytes`; `other` lends parts. Returns what was done, for messages. */
export function mutate(
  bytes: Buffer,
  other: Buffer,
  random: Random,
): { readonly bytes: Buffer; readonly done: readonly string[] } {
  let out = bytes;
  const done: string[] = [];
  for (let i = 1 + random.below(3); i > 0; i--) {
    const name = random.pick(NAMES);
    out = (MUTATIONS[name] as Mutation)(out, random, other).subarray(0, 4 << 20);
    done.push(name);
  }
  return { bytes: out, done };
}
