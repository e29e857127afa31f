/**
 * Field lines of the schema as layouts, checked.
 *
 * A line that does not parse, a field that overlaps another or is not naturally aligned, a struct
 * whose size is not what its fields need: each throws and names the struct.
 */
import type { Chapter, FieldLine, StructShape } from "../../schema/index.js";

export type Scalar = "u8" | "u16" | "u32" | "u64" | "s32";

/** One field with everything about it known. */
export interface Field {
  readonly name: string;
  /** A second name for the same place. */
  readonly alias: string | undefined;
  readonly offset: number;
  readonly scalar: Scalar | undefined;
  /** A struct in place of a number. */
  readonly struct: Layout | undefined;
  /** Elements of an array; undefined: one value. */
  readonly count: number | "flexible" | undefined;
  /** Of one element. */
  readonly width: number;
  /** Bytes of all; 0 when flexible. */
  readonly bytes: number;
  readonly meaning: string | undefined;
}

export interface Layout {
  readonly shape: StructShape;
  readonly fields: readonly Field[];
  readonly align: number;
  readonly union: readonly { readonly name: string; readonly fields: readonly Field[] }[];
}

const WIDTH: Readonly<Record<Scalar, number>> = { u8: 1, u16: 2, u32: 4, u64: 8, s32: 4 };

const LINE = /^(\w+?)(\[(\d*)\])? (\w+)(?:=(\w+))? @(\d+)(?: \| (.+))?$/;

/** Layouts of all structs, by name; a struct must come before those that contain it. */
export function layoutsOf(chapters: readonly Chapter[]): ReadonlyMap<string, Layout> {
  const known = new Map<string, Layout>();
  for (const chapter of chapters) {
    for (const shape of chapter.structs) {
      if (known.has(shape.name)) throw new Error(`${shape.name}: defined twice`);
      known.set(shape.name, layoutOf(shape, known));
    }
  }
  return known;
}

function layoutOf(shape: StructShape, known: ReadonlyMap<string, Layout>): Layout {
  const fields = shape.fields.map((line) => parseField(line, shape.name, known));
  const union = (shape.union ?? []).map(({ name, fields: lines }) => ({
    name,
    fields: lines.map((line) => parseField(line, `${shape.name}.${name}`, known)),
  }));
  const everything = [...fields, ...union.flatMap((member) => member.fields)];
  const align = Math.max(...everything.map((field) => field.struct?.align ?? field.width));
  checkPlaces(shape.name, fields, union, shape.size, align);
  return { shape, fields, align, union };
}

/** @throws Error for a line that does not follow the form in schema/shape.ts. */
export function parseField(
  line: FieldLine,
  owner: string,
  known: ReadonlyMap<string, Layout>,
): Field {
  const match = LINE.exec(line);
  if (match === null) throw new Error(`${owner}: cannot read "${line}"`);
  const [, type = "", brackets, number = "", name = "", alias, offset = "", meaning] = match;
  const scalar = type in WIDTH ? (type as Scalar) : undefined;
  const struct = scalar === undefined ? known.get(type) : undefined;
  const width = scalar === undefined ? struct?.shape.size : WIDTH[scalar];
  if (width === undefined) throw new Error(`${owner}.${name}: no type ${type}`);
  const count = brackets === undefined ? undefined : number === "" ? "flexible" : Number(number);
  const bytes = count === "flexible" ? 0 : width * (count ?? 1);
  return { name, alias, offset: Number(offset), scalar, struct, count, width, bytes, meaning };
}

function checkPlaces(
  owner: string,
  fields: readonly Field[],
  union: Layout["union"],
  size: number,
  align: number,
): void {
  for (const member of union) checkOrder(`${owner}.${member.name}`, member.fields);
  checkOrder(owner, fields);
  const ends = [...fields, ...union.flatMap((member) => member.fields)];
  const end = Math.max(...ends.map((field) => field.offset + field.bytes));
  const isFlexible = fields.some((field) => field.count === "flexible");
  const padded = isFlexible ? end : Math.ceil(end / align) * align;
  if (padded !== size) throw new Error(`${owner}: ${padded} bytes by its fields, not ${size}`);
}

function checkOrder(owner: string, fields: readonly Field[]): void {
  let free = 0;
  for (const field of fields) {
    const align = field.struct?.align ?? field.width;
    const where = `${owner}.${field.name}`;
    if (field.offset % align !== 0) throw new Error(`${where}: not aligned to ${align}`);
    if (field.offset < free) throw new Error(`${where}: overlaps the field before`);
    free = field.offset + field.bytes;
  }
}

/** `iommu_ioas_map` as a type: `IommuIoasMap`. */
export function typeName(name: string): string {
  return name
    .split("_")
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join("");
}

/** A number as people write it in that place: small ones decimal, others hexadecimal. */
export function numeral(value: number | bigint): string {
  return value < 0 || value < 256 ? `${value}` : `0x${value.toString(16)}`;
}
