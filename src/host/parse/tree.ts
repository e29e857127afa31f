/**
 * `lspci -t`, `-tv`, `-tnn`: which bus hangs below which bridge.
 *
 *   -[0000:00]-+-00.0  Host bridge …
 *              +-1c.0-[01-03]----00.0-[02-03]--+-01.0-[03]--
 *              |                               \-02.0-[04]----00.0
 *              \-1f.0
 *
 * A line's first `+` or `\` says by its column to which bus the line belongs; each `+` inside a
 * line opens the list of the bus before it. With several root buses the first column holds them.
 * Old versions leave out the segment. An excerpt may begin anywhere: lines whose column was not
 * opened before are left out, and so are the branches of a tree that lost its indentation.
 *
 * A bus that no bridge of the capture leads to is drawn like a root bus; so are the extra buses of
 * VFs.
 */
import { type Bdf, makeBdf } from "../../units/index.js";
import type { CapturePart, TreeFact } from "../capture.js";
import type { TextLines } from "./text.js";

interface Bus {
  readonly segment: number;
  readonly bus: number;
}

type Parent = Bus | "top";

const ROOT = /^\[(?:([0-9a-f]{4,8}):)?([0-9a-f]{2})(?:-[0-9a-f]{2})?\]/i;
const NODE = /^([0-9a-f]{2})\.([0-7])(?:-\[(?:[0-9a-f]{4,8}:)?([0-9a-f]{2})(?:-[0-9a-f]{2})?\])?/i;
const LINE = /^[ |]{0,400}(?:-\[|-\+-\[|[+\\]-(?:\[[0-9a-f]{2}|[0-9a-f]{2}\.[0-7]))/i;
const BOX = /[├└│─┬┌]/g;
const BOX_AS: Readonly<Record<string, string>> = {
  "├": "+",
  "└": "\\",
  "│": "|",
  "─": "-",
  "┬": "+",
  "┌": "+",
};
const DEPTH_LIMIT = 64;

/** The tree of a text; undefined when it holds none. */
export function parseTree(text: TextLines): CapturePart | undefined {
  const reader = new TreeReader();
  for (let i = 0; i < text.length; i++) reader.line(text.lines[i] ?? "");
  const tree = reader.facts();
  if (tree.length === 0) return undefined;
  return { kind: "lspci-tree", place: { file: text.file }, tree };
}

/** Whether a line can be one of a tree. */
export function isTreeLine(line: string): boolean {
  return LINE.test(plain(line));
}

/** Box drawings as the characters lspci uses. */
function plain(line: string): string {
  return ANY_BOX.test(line) ? line.replace(BOX, (ch) => BOX_AS[ch] ?? ch) : line;
}
const ANY_BOX = /[├└│─┬┌]/;

class TreeReader {
  readonly #facts = new Map<number, TreeFact>();
  /** Column of a list's branches → the bus it lists. */
  readonly #lists = new Map<number, Parent>();
  /** Column of the first root bus: branches stand further right, unless indentation was lost. */
  #rootColumn = -1;

  facts(): TreeFact[] {
    return [...this.#facts.values()];
  }

  line(raw: string): void {
    const line = plain(raw);
    if (!LINE.test(line)) return;
    let at = 0;
    while (line.charCodeAt(at) === 0x20 || line.charCodeAt(at) === 0x7c) at++;
    const first = line[at];
    const shown = line.length - line.trimStart().length;
    if (first === "-") {
      this.#rootColumn = shown;
      this.#lists.clear();
      this.#chain(line, at, "top");
      return;
    }
    if (shown <= this.#rootColumn) this.#lists.clear();
    const column = at;
    for (const open of [...this.#lists.keys()]) if (open > column) this.#lists.delete(open);
    const rest = line.slice(at + 2);
    const parent = this.#lists.get(column) ?? (rest.startsWith("[") ? "top" : undefined);
    if (parent === undefined) return;
    this.#lists.set(column, parent);
    this.#chain(line, at + 1, parent);
    if (first === "\\") this.#lists.delete(column);
  }

  /** Follows one line from `at`: dashes, a node, the bus it opens, its first child, and so on. */
  #chain(line: string, from: number, above: Parent): void {
    let at = from;
    let parent = above;
    for (let depth = 0; depth < DEPTH_LIMIT; depth++) {
      while (line[at] === "-") at++;
      if (line[at] === "+" && line[at + 1] === "-") {
        this.#lists.set(at, parent);
        at += 2;
      } else if (line[at] === "\\" && line[at + 1] === "-") at += 2;
      const tail = line.slice(at, at + 40);
      const root = parent === "top" ? ROOT.exec(tail) : null;
      const next = root === null ? this.#node(tail, parent) : this.#root(root);
      if (next === undefined) return;
      parent = next.bus;
      at += next.length;
    }
  }

  #root(m: RegExpExecArray): { bus: Bus; length: number } {
    const segment = m[1] === undefined ? 0 : Number.parseInt(m[1], 16);
    const bus = { segment, bus: Number.parseInt(m[2] as string, 16) };
    this.#add(bus, null);
    return { bus, length: m[0].length };
  }

  /** A function; undefined when the line ends here or the function opens no bus. */
  #node(tail: string, parent: Parent): { bus: Bus; length: number } | undefined {
    const m = NODE.exec(tail);
    if (m === null || parent === "top" || m[3] === undefined) return undefined;
    const device = Number.parseInt(m[1] as string, 16);
    if (device > 31) return undefined;
    const bridge = makeBdf(parent.segment, parent.bus, device, Number(m[2]));
    const bus = { segment: parent.segment, bus: Number.parseInt(m[3], 16) };
    this.#add(bus, bridge);
    return { bus, length: m[0].length };
  }

  #add({ segment, bus }: Bus, bridge: Bdf | null): void {
    const key = segment * 256 + bus;
    const before = this.#facts.get(key);
    // A bridge says more than "drawn as a root".
    if (before === undefined || before.bridge === null) {
      this.#facts.set(key, { segment, bus, bridge });
    }
  }
}
