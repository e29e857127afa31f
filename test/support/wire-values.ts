/**
 * Random arguments for the calls of the interface, from its schema: mostly sensible, often nearly,
 * sometimes wild. What a field is called says what is worth trying in it.
 */
import { CHAPTERS, type IoctlShape, type StructShape } from "../../schema/index.js";
import type { Random } from "./random.js";

/** Memory and descriptors that values may mean. */
export interface ValueWorld {
  /** First byte of memory for arguments and maps; whole pages. */
  readonly base: bigint;
  readonly pages: number;
  readonly descriptors: readonly number[];
  /** Those of /dev/iommu, and those of containers. */
  readonly iommufds: readonly number[];
  readonly containers: readonly number[];
  /** Objects that are there, by kind as the context names it. */
  readonly objects: readonly { readonly id: number; readonly kind: string }[];
}

interface Field {
  readonly name: string;
  readonly offset: number;
  /** Bytes of one number. */
  readonly width: 1 | 2 | 4 | 8;
  readonly count: number;
}

export interface WireCall {
  readonly shape: IoctlShape;
  readonly size: number;
  readonly minSize: number;
  readonly fields: readonly Field[];
}

const STRUCTS = new Map(CHAPTERS.flatMap((one) => one.structs).map((one) => [one.name, one]));
const WIDTHS: Readonly<Record<string, Field["width"]>> = { u8: 1, u16: 2, u32: 4, u64: 8, s32: 4 };
const LINE = /^(\w+)(?:\[(\d*)\])? (\S+) @(\d+)/;

/** Every call of every file. */
export const WIRE_CALLS: readonly WireCall[] = CHAPTERS.flatMap((one) => one.ioctls).map(
  (shape) => {
    const struct = shape.struct === undefined ? undefined : STRUCTS.get(shape.struct);
    const size = struct?.size ?? 0;
    return { shape, size, minSize: shape.minSize ?? size, fields: struct ? fieldsOf(struct) : [] };
  },
);

function fieldsOf(struct: StructShape): Field[] {
  const lines = [...struct.fields, ...(struct.union ?? []).flatMap((one) => one.fields)];
  return lines.flatMap((line) => {
    const [, type = "", length, name = "", offset = "0"] = LINE.exec(line) ?? [];
    const width = WIDTHS[type];
    if (width === undefined) return [];
    return [
      { name, offset: Number(offset), width, count: length === undefined ? 1 : Number(length) },
    ];
  });
}

const EDGES: readonly bigint[] = [
  ...[0n, 1n, 2n, 7n, 8n, 4095n, 4096n, 0xfee00000n, 0xfeefffffn, 0x7fffffffn, 0x80000000n],
  ...[0xffffffffn, 0x100000000n, 2n ** 39n, 2n ** 48n, 2n ** 57n, 2n ** 63n - 1n, 2n ** 63n],
  ...[2n ** 64n - 4096n, 2n ** 64n - 2n, 2n ** 64n - 1n],
];

/** The bytes of an argument, with some beyond the struct at times. */
export function randomArgument(call: WireCall, random: Random, world: ValueWorld): Uint8Array {
  const extra = random.below(12) === 0 ? random.below(40) : 0;
  const bytes = new Uint8Array(Math.max(call.size + extra, 8) + (hasTail(call) ? 64 : 0));
  const view = new DataView(bytes.buffer);
  for (const field of call.fields) {
    for (let i = 0; i < field.count; i++) {
      const at = field.offset + i * field.width;
      if (at + field.width > bytes.length) continue;
      put(view, at, field.width, fieldValue(field, call, random, world));
    }
  }
  if (hasTail(call)) fillTail(view, call.size, random, world);
  if (random.below(40) === 0) view.setUint8(random.below(bytes.length), random.next());
  return bytes;
}

/** These go on after the struct. */
function hasTail(call: WireCall): boolean {
  return /SET_IRQS|FEATURE|HOT_RESET|DIRTY_PAGES|UNMAP_DMA|GET_INFO/.test(call.shape.name);
}

function fillTail(view: DataView, from: number, random: Random, world: ValueWorld): void {
  for (let at = from; at + 4 <= view.byteLength; at += 4) {
    const value = random.below(3) === 0 ? descriptor(random, world) : BigInt(random.below(4));
    put(view, at, 4, value);
  }
}

function put(view: DataView, at: number, width: number, value: bigint): void {
  if (width === 8) view.setBigUint64(at, BigInt.asUintN(64, value), true);
  else if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
  else if (width === 2) view.setUint16(at, Number(BigInt.asUintN(16, value)), true);
  else view.setUint8(at, Number(BigInt.asUintN(8, value)));
}

function fieldValue(field: Field, call: WireCall, random: Random, world: ValueWorld): bigint {
  if (random.below(60) === 0) return random.pick(EDGES);
  const { name } = field;
  if (name === "size" && field.offset === 0) return sizeWord(call, random);
  if (name === "argsz") return sizeWord(call, random);
  if (/^__|reserved|^pad$|rsvd/.test(name)) return random.below(50) === 0 ? 1n : 0n;
  if (name === "iommufd") return descriptor(random, world, world.iommufds);
  if (/fd$/.test(name)) return descriptor(random, world);
  if (/uptr|user_va|vaddr|_ptr|allowed_iovas|^data$|^bitmap$|ranges$/.test(name)) {
    return address(random, world);
  }
  if (
    field.width === 8 &&
    /^(iova|addr|start|src_iova|dst_iova|last|nesting_parent_iova)/.test(name)
  ) {
    return 0x1000000n + BigInt(random.below(64)) * (random.below(6) === 0 ? 2048n : 4096n);
  }
  if (/length|^size$/.test(name)) return BigInt(1 + random.below(8)) * 4096n;
  if (/flags/.test(name)) return flags(call, random);
  if (/pasid/.test(name)) return BigInt(random.below(5));
  if (/id$/.test(name)) return objectId(call.size > 60 ? "" : name, random, world);
  if (/data_type$|data_len$|^type$/.test(name) && random.below(3) !== 0) return 0n;
  if (name === "op" && call.size > 60) {
    return BigInt(random.below(2) === 0 ? random.pick([2, 5, 12]) : 1 + random.below(24));
  }
  if (/page_size|pgsize/.test(name)) return 4096n;
  return BigInt(random.below(6));
}

/** What a field's name says it wants, by the kinds of objects. */
const WANTED: readonly (readonly [RegExp, RegExp])[] = [
  [/ioas/, /^ioas$/],
  [/dev_id|^id$/, /^device$|selftest|access/],
  [/pt_id|hwpt/, /^ioas$|^hwpt/],
  [/viommu/, /^viommu$/],
  [/fault/, /^fault$/],
];

function objectId(name: string, random: Random, world: ValueWorld): bigint {
  if (random.below(6) === 0) return BigInt(random.below(14));
  const kind = WANTED.find(([field]) => field.test(name))?.[1];
  const fitting = world.objects.filter((one) => kind?.test(one.kind) ?? true);
  if (fitting.length === 0) return BigInt(1 + random.below(4));
  return BigInt(random.pick(fitting).id);
}

function sizeWord(call: WireCall, random: Random): bigint {
  const tail = hasTail(call) ? 64 : 0;
  const choices = [call.minSize - 1, call.minSize, call.size + 8, 0, 4, 0xffff, 2 ** 32 - 1];
  return BigInt(random.below(10) === 0 ? random.pick(choices) : call.size + tail);
}

/** A descriptor for GROUP_SET_CONTAINER. */
export function containerArgument(random: Random, world: ValueWorld): Uint8Array {
  const bytes = new Uint8Array(4);
  const likely = random.below(4) === 0 ? world.iommufds : world.containers;
  put(new DataView(bytes.buffer), 0, 4, descriptor(random, world, likely));
  return bytes;
}

function descriptor(random: Random, world: ValueWorld, likely: readonly number[] = []): bigint {
  if (likely.length > 0 && random.below(8) !== 0) return BigInt(random.pick(likely));
  if (random.below(10) === 0) return -1n;
  if (random.below(20) === 0) return BigInt(random.below(100));
  return BigInt(world.descriptors.length === 0 ? -1 : random.pick(world.descriptors));
}

function address(random: Random, world: ValueWorld): bigint {
  const inside = world.base + BigInt(random.below(world.pages)) * 4096n;
  const kind = random.below(14);
  if (kind === 0) return 0n;
  if (kind === 1) return inside + BigInt(random.below(4096));
  if (kind === 2) return world.base + BigInt(world.pages) * 4096n;
  if (kind === 3) return random.pick(EDGES);
  return inside;
}

/** Numbers of flags are small; several at once are common. */
function flags(call: WireCall, random: Random): bigint {
  if (call.shape.name === "VFIO_DEVICE_FEATURE") {
    return BigInt(random.pick([0x10000, 0x20000, 0x40000, 0x50000]) + random.below(14));
  }
  if (call.shape.name === "VFIO_DEVICE_SET_IRQS") {
    return BigInt(random.pick([1, 2, 4]) | random.pick([8, 16, 32]));
  }
  if (/_MAP|_COPY/.test(call.shape.name)) return BigInt(random.pick([7, 7, 7, 6, 5, 3, 1, 0]));
  return BigInt(random.below(4) === 0 ? random.below(16) : 0);
}
