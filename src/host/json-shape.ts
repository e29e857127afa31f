/**
 * Shapes: one description of a JSON value that both reads and writes it, with errors that name the
 * field. Numbers wider than 53 bits are `0x…` strings, addresses of functions `dddd:bb:dd.f`.
 */
import { type Bdf, formatBdf, parseBdf, type Span } from "../units/index.js";

export interface Shape<T> {
  /** @throws ShapeError */
  read(value: unknown, path: JsonPath): T;
  write(value: T): unknown;
}

/** Property names and array indices from the root. */
export type JsonPath = readonly (string | number)[];

export class ShapeError extends Error {
  override readonly name = "ShapeError";
  readonly path: JsonPath;
  readonly expected: string;

  constructor(problem: string, path: JsonPath, expected: string) {
    super(problem);
    this.path = path;
    this.expected = expected;
  }

  static is(error: unknown): error is ShapeError {
    return error instanceof Error && error.name === "ShapeError" && "path" in error;
  }
}

function fail(value: unknown, path: JsonPath, expected: string): ShapeError {
  const shown = value === undefined ? "nothing" : (JSON.stringify(value) ?? String(value));
  return new ShapeError(`found ${shown.slice(0, 60)}`, path, expected);
}

function plain<T>(expected: string, is: (value: unknown) => value is T): Shape<T> {
  return {
    read: (value, path) => {
      if (!is(value)) throw fail(value, path, expected);
      return value;
    },
    write: (value) => value,
  };
}

export const text = plain("text", (v): v is string => typeof v === "string");
export const flag = plain("true or false", (v): v is boolean => typeof v === "boolean");

export function integer(limit: number): Shape<number> {
  return plain(
    `a whole number, 0 to ${limit}`,
    (v): v is number => typeof v === "number" && Number.isInteger(v) && v >= 0 && v <= limit,
  );
}

export function oneOf<const T extends string>(...values: readonly T[]): Shape<T> {
  return plain(values.join(", "), (v): v is T => (values as readonly unknown[]).includes(v));
}

const WIDE = /^0x[0-9a-f]{1,16}$/;

/** 64 bits. */
export const wide: Shape<bigint> = {
  read: (value, path) => {
    if (typeof value === "string" && WIDE.test(value)) return BigInt(value);
    throw fail(value, path, "0x and up to 16 lower-case hexadecimal digits");
  },
  write: (value) => `0x${value.toString(16)}`,
};

export const address: Shape<Bdf> = {
  read: (value, path) => {
    const bdf = typeof value === "string" ? parseBdf(value) : undefined;
    if (bdf === undefined) throw fail(value, path, "an address dddd:bb:dd.f");
    return bdf;
  },
  write: formatBdf,
};

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return {
    read: (value, path) => (value === null ? null : shape.read(value, path)),
    write: (value) => (value === null ? null : shape.write(value)),
  };
}

export function list<T>(shape: Shape<T>): Shape<readonly T[]> {
  return {
    read: (value, path) => {
      if (!Array.isArray(value)) throw fail(value, path, "a list");
      return value.map((item, i) => shape.read(item, [...path, i]));
    },
    write: (value) => value.map((item) => shape.write(item)),
  };
}

/** Text by text. */
export const textRecord: Shape<Readonly<Record<string, string>>> = {
  read: (value, path) => {
    if (!isObject(value)) throw fail(value, path, "an object of texts");
    const entries = Object.entries(value);
    return Object.fromEntries(entries.map(([k, v]) => [k, text.read(v, [...path, k])]));
  },
  write: (value) => value,
};

interface Field<V> {
  readonly shape: Shape<Exclude<V, undefined>>;
  readonly optional: boolean;
}

export const need = <V>(shape: Shape<V>): Field<V> => ({ shape: shape as never, optional: false });
export const may = <V>(shape: Shape<V>): Field<V | undefined> => ({
  shape: shape as never,
  optional: true,
});

/** Unknown properties are refused: a misspelt field must not be lost in silence. */
export function object<T extends object>(
  fields: {
    readonly [K in keyof T]-?: Field<T[K]>;
  },
): Shape<T> {
  const entries = Object.entries(fields) as [string, Field<unknown>][];
  const names = new Set(entries.map(([name]) => name));
  return {
    read: (value, path) => {
      if (!isObject(value)) throw fail(value, path, "an object");
      for (const name of Object.keys(value)) {
        if (!names.has(name))
          throw new ShapeError("unknown field", [...path, name], [...names].join(", "));
      }
      const out: Record<string, unknown> = {};
      for (const [name, { shape, optional }] of entries) {
        const item = value[name];
        if (item === undefined && optional) continue;
        out[name] = shape.read(item, [...path, name]);
      }
      return out as T;
    },
    write: (value) => {
      const out: Record<string, unknown> = {};
      for (const [name, { shape }] of entries) {
        const item = (value as Record<string, unknown>)[name];
        if (item !== undefined) out[name] = shape.write(item as never);
      }
      return out;
    },
  };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const span: Shape<Span> = object<Span>({ first: need(wide), last: need(wide) });
