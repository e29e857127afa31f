/**
 * Vectors: bytes of each struct and what they mean, by interpreting the layout.
 *
 * One JSON object a line: `{"struct", "member"?, "bytes" (hex), "fields"}`. Numbers are decimal
 * text, so that 64 bits survive. Three patterns: all zeros, all ones, bytes that count up from 1.
 */
import type { Field, Layout } from "./layout.js";

const PATTERNS: readonly ((index: number) => number)[] = [
  () => 0,
  () => 0xff,
  (index) => (index + 1) & 0xff,
];

/** `test/vectors/abi.jsonl`. */
export function emitVectors(layouts: ReadonlyMap<string, Layout>): string {
  const lines: string[] = [];
  for (const { shape, fields, union } of layouts.values()) {
    for (const pattern of PATTERNS) {
      const bytes = Uint8Array.from({ length: shape.size }, (_, i) => pattern(i));
      const base = { struct: shape.name, bytes: Buffer.from(bytes).toString("hex") };
      lines.push(JSON.stringify({ ...base, fields: interpret(bytes, fields, 0) }));
      for (const member of union) {
        const found = interpret(bytes, member.fields, 0);
        lines.push(JSON.stringify({ ...base, member: member.name, fields: found }));
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

export type Interpreted = string | Interpreted[] | { [name: string]: Interpreted };

function interpret(
  bytes: Uint8Array,
  fields: readonly Field[],
  at: number,
): { [name: string]: Interpreted } {
  const out: { [name: string]: Interpreted } = {};
  for (const field of fields) {
    if (field.count === "flexible") continue;
    const values = Array.from({ length: field.count ?? 1 }, (_, i) =>
      one(bytes, field, at + field.offset + i * field.width),
    );
    out[field.name] = field.count === undefined ? (values[0] ?? "") : values;
  }
  return out;
}

/** Byte by byte, unlike the codecs. */
function one(bytes: Uint8Array, field: Field, at: number): Interpreted {
  if (field.struct !== undefined) return interpret(bytes, field.struct.fields, at);
  let value = 0n;
  for (let i = field.width - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i] ?? 0);
  return `${field.scalar === "s32" ? BigInt.asIntN(32, value) : value}`;
}
