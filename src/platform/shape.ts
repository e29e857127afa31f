/**
 * Shapes: what a parsed file may look like, said once.
 *
 * A shape checks a value and reports every problem with its path, and states the same as JSON
 * Schema (draft 2020-12). The published schema is generated from the shapes, so the two cannot
 * drift.
 */
import type { InputPath } from "./line-map.js";
import type { Problems } from "./platform-error.js";

export type JsonSchema = { readonly [keyword: string]: unknown };

export interface Shape<T> {
  /** What would be right, in words. */
  readonly expected: string;
  /** The value is meant to be of this shape, judged by its type alone (for choices). */
  claims(value: unknown): boolean;
  /** The value, or undefined after a problem was reported. */
  read(value: unknown, path: InputPath, problems: Problems): T | undefined;
  schema(): JsonSchema;
}

export type Read<S> = S extends Shape<infer T> ? T : never;

/** Deeper nesting than any real file has; keeps hostile files from exhausting the stack. */
const DEPTH_LIMIT = 600;

/** A string that matches `pattern` (a regular expression, unicode). */
export function text(expected: string, pattern: string, description?: string): Shape<string> {
  const regexp = new RegExp(pattern, "u");
  return scalar(
    expected,
    (v): v is string => typeof v === "string" && regexp.test(v),
    (v) => typeof v === "string" && regexp.test(v),
    { type: "string", pattern, ...about(description) },
  );
}

/** A whole number, both ends included. */
export function integer(min: number, max: number, description?: string): Shape<number> {
  const inside = (v: unknown): v is number =>
    typeof v === "number" && Number.isInteger(v) && v >= min && v <= max;
  return scalar(`a whole number from ${min} to ${max}`, inside, (v) => typeof v === "number", {
    type: "integer",
    minimum: min,
    maximum: max,
    ...about(description),
  });
}

/** true or false. */
export function flag(description?: string): Shape<boolean> {
  const is = (v: unknown): v is boolean => typeof v === "boolean";
  return scalar("true or false", is, is, { type: "boolean", ...about(description) });
}

/** One of a few words. */
export function word<const W extends string>(words: readonly W[], description?: string): Shape<W> {
  const is = (v: unknown): v is W => typeof v === "string" && words.includes(v as W);
  const expected = words.length === 1 ? `"${words[0]}"` : `one of ${words.join(", ")}`;
  return scalar(expected, is, is, { enum: [...words], ...about(description) });
}

/** null. */
export function nothing(): Shape<null> {
  const is = (v: unknown): v is null => v === null;
  return scalar("null", is, is, { type: "null" });
}

function scalar<T>(
  expected: string,
  is: (value: unknown) => value is T,
  claims: (value: unknown) => boolean,
  schema: JsonSchema,
): Shape<T> {
  return {
    expected,
    claims,
    read(value, path, problems) {
      if (is(value)) return value;
      problems.add(path, `${show(value)} does not fit`, expected);
      return undefined;
    },
    schema: () => schema,
  };
}

/** A list of one shape. */
export function list<T>(
  item: Shape<T>,
  limits: { readonly min?: number; readonly max?: number; readonly description?: string } = {},
): Shape<readonly T[]> {
  const min = limits.min ?? 0;
  const expected = `a list${min > 0 ? ` of at least ${min}` : ""}`;
  const most = limits.max;
  return {
    expected,
    claims: (v) => Array.isArray(v),
    read(value, path, problems) {
      if (!Array.isArray(value)) {
        problems.add(path, `${show(value)} is not a list`, expected);
        return undefined;
      }
      if (value.length < min) problems.add(path, "has too few entries", expected);
      if (most !== undefined && value.length > most) {
        problems.add(path, "has too many entries", `at most ${most}`);
      }
      const out: T[] = [];
      value.forEach((entry: unknown, i) => {
        const read = item.read(entry, [...path, i], problems);
        if (read !== undefined) out.push(read);
      });
      return out;
    },
    schema: () => ({
      type: "array",
      items: item.schema(),
      ...(min > 0 ? { minItems: min } : {}),
      ...(most === undefined ? {} : { maxItems: most }),
      ...about(limits.description),
    }),
  };
}

type Fields = Readonly<Record<string, Shape<unknown>>>;
type Present<F extends Fields> = { readonly [K in keyof F]: Read<F[K]> };
type Maybe<F extends Fields> = { readonly [K in keyof F]?: Read<F[K]> | undefined };

/** An object. Unknown fields are problems, except those named `x-…`, which anyone may add. */
export function record<R extends Fields, O extends Fields>(
  expected: string,
  required: R,
  optional: O,
  description?: string,
): Shape<Present<R> & Maybe<O>> {
  const known: ReadonlyMap<string, Shape<unknown>> = new Map([
    ...Object.entries(required),
    ...Object.entries(optional),
  ]);
  return {
    expected,
    claims: isObject,
    read(value, path, problems) {
      if (!isObject(value)) {
        problems.add(path, `${show(value)} does not fit`, expected);
        return undefined;
      }
      if (path.length > DEPTH_LIMIT) {
        problems.add(path, "is nested too deeply");
        return undefined;
      }
      const out: Record<string, unknown> = {};
      for (const [key, entry] of Object.entries(value)) {
        const shape = known.get(key);
        if (shape !== undefined) {
          const read = shape.read(entry, [...path, key], problems);
          if (read !== undefined) out[key] = read;
        } else if (!key.startsWith("x-")) {
          problems.add([...path, key], "is not a field here", suggest(key, [...known.keys()]));
        }
      }
      for (const [key, shape] of Object.entries(required)) {
        if (Object.hasOwn(value, key)) continue;
        problems.add(path, `lacks the field ${key}`, shape.expected);
      }
      return out as Present<R> & Maybe<O>;
    },
    schema: () => ({
      type: "object",
      properties: Object.fromEntries([...known].map(([key, shape]) => [key, shape.schema()])),
      ...(Object.keys(required).length > 0 ? { required: Object.keys(required) } : {}),
      patternProperties: { "^x-": true },
      additionalProperties: false,
      ...about(description),
    }),
  };
}

/**
 * An object whose keys match `pattern`, all values of one shape. It claims objects whose first key
 * matches.
 */
export function dictionary<T>(
  expected: string,
  pattern: string,
  value: Shape<T>,
): Shape<ReadonlyMap<string, T>> {
  const regexp = new RegExp(pattern, "u");
  return {
    expected,
    claims: (v) => isObject(v) && regexp.test(Object.keys(v)[0] ?? ""),
    read(given, path, problems) {
      if (!isObject(given)) {
        problems.add(path, `${show(given)} does not fit`, expected);
        return undefined;
      }
      const out = new Map<string, T>();
      for (const [key, entry] of Object.entries(given)) {
        if (!regexp.test(key)) {
          problems.add([...path, key], "is not a key here", expected);
          continue;
        }
        const read = value.read(entry, [...path, key], problems);
        if (read !== undefined) out.set(key, read);
      }
      return out;
    },
    schema: () => ({
      type: "object",
      minProperties: 1,
      patternProperties: { [pattern]: value.schema() },
      additionalProperties: false,
    }),
  };
}

/** The first shape that claims the value reads it. Alternatives must differ in what they claim. */
export function either<const S extends readonly Shape<unknown>[]>(
  ...shapes: S
): Shape<Read<S[number]>> {
  const expected = shapes.map((s) => s.expected).join(", or ");
  return {
    expected,
    claims: (v) => shapes.some((s) => s.claims(v)),
    read(value, path, problems) {
      const shape = shapes.find((s) => s.claims(value));
      if (shape !== undefined) return shape.read(value, path, problems) as Read<S[number]>;
      problems.add(path, `${show(value)} does not fit`, expected);
      return undefined;
    },
    schema: () => ({ anyOf: shapes.map((s) => s.schema()) }),
  };
}

/** A shape that is defined elsewhere in the schema under `$defs`; allows recursion. */
export function reference<T>(name: string, expected: string, shape: () => Shape<T>): Shape<T> {
  return {
    expected,
    claims: isObject,
    read: (value, path, problems) => shape().read(value, path, problems),
    schema: () => ({ $ref: `#/$defs/${name}` }),
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function about(description: string | undefined): JsonSchema {
  return description === undefined ? {} : { description };
}

function show(value: unknown): string {
  if (typeof value === "string") {
    return value.length > 40 ? `"${value.slice(0, 40)}…"` : `"${value}"`;
  }
  if (Array.isArray(value)) return "a list";
  return isObject(value) ? "an object" : String(value);
}

/** The known field nearest to a mistyped one, else all of them. */
function suggest(key: string, known: readonly string[]): string {
  let best: string | undefined;
  let least = Math.min(3, key.length);
  if (key.length <= 40) {
    for (const name of known) {
      const d = distance(key.toLowerCase(), name.toLowerCase());
      if (d < least) {
        least = d;
        best = name;
      }
    }
  }
  return best === undefined ? `one of ${known.join(", ")}, or x-…` : `${best}`;
}

/** Edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
