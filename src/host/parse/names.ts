/**
 * From names back to ids: what a capture without `-nn` needs.
 *
 * lspci prints "vendor name, blank, device name", so the boundary is found by trying every
 * beginning that is a vendor's name, longest first. Names changed over the years and several ids
 * share a name; every id that any table gives for a name counts, and more than one makes the match
 * ambiguous.
 */

/** A source of names: the shipped table, or the text of a pci.ids file. */
export interface NameTable {
  /** Base class and sub-class (16 bits) of a class name such as "PCI bridge". */
  classId(name: string): number | undefined;
  vendorIds(name: string): readonly number[];
  deviceIds(vendor: number, name: string): readonly number[];
  /** Ids of a subsystem name listed under a device. */
  subsystemIds(vendor: number, device: number, name: string): readonly SubsystemId[];
}

export interface DeviceId {
  readonly vendor: number;
  readonly device: number;
}

export type SubsystemId = readonly [subVendor: number, subDevice: number];

export interface NameMatch {
  /** Set when all matches agree on it. */
  readonly vendor: number | undefined;
  readonly device: number | undefined;
  /** Set when the name fits several ids. */
  readonly candidates: readonly DeviceId[] | undefined;
}

const NOTHING: NameMatch = { vendor: undefined, device: undefined, candidates: undefined };
const CANDIDATE_LIMIT = 64;
const NUMBERED = /^(?:Unknown d|D)evice \[?([0-9a-f]{4})\]?$/i;

/** Remembers answers: hosts have many functions of few kinds. */
export class NameResolver {
  readonly #tables: readonly NameTable[];
  readonly #devices = new Map<string, NameMatch>();
  readonly #subsystems = new Map<string, readonly [number | undefined, number | undefined]>();
  readonly #classes = new Map<string, number | undefined>();

  constructor(tables: readonly NameTable[]) {
    this.#tables = tables;
  }

  device(name: string): NameMatch {
    return remember(this.#devices, name, () => resolveName(name, this.#tables));
  }

  subsystem(
    name: string,
    owner: Pick<NameMatch, "vendor" | "device">,
  ): readonly [number | undefined, number | undefined] {
    const key = `${owner.vendor}:${owner.device} ${name}`;
    return remember(this.#subsystems, key, () => resolveSubsystem(name, owner, this.#tables));
  }

  classId(name: string): number | undefined {
    return remember(this.#classes, name, () => {
      for (const table of this.#tables) {
        const id = table.classId(name);
        if (id !== undefined) return id;
      }
      return undefined;
    });
  }
}

/** Bounds memory when every name is another. */
const REMEMBER_LIMIT = 10_000;

function remember<T>(map: Map<string, T>, key: string, find: () => T): T {
  const known = map.get(key);
  if (known !== undefined || map.has(key)) return known as T;
  const found = find();
  if (map.size < REMEMBER_LIMIT) map.set(key, found);
  return found;
}

/**
 * Ids of `Intel Corporation 82576 Gigabit Network Connection` or `Intel Corporation Device 09a2`.
 */
export function resolveName(text: string, tables: readonly NameTable[]): NameMatch {
  const name = collapse(text);
  let vendorOnly: NameMatch = NOTHING;
  for (const end of beginnings(name)) {
    const vendors = unique(tables.flatMap((t) => t.vendorIds(name.slice(0, end))));
    if (vendors.length === 0) continue;
    const found = devicesOf(vendors, name.slice(end).replace(/^[: ]+/, ""), tables);
    if (found.length > 0) return matchOf(found);
    if (vendorOnly === NOTHING) {
      const vendor = vendors.length === 1 ? vendors[0] : undefined;
      vendorOnly = { vendor, device: undefined, candidates: undefined };
    }
  }
  return vendorOnly;
}

function devicesOf(
  vendors: readonly number[],
  name: string,
  tables: readonly NameTable[],
): DeviceId[] {
  const numbered = NUMBERED.exec(name)?.[1];
  const out: DeviceId[] = [];
  for (const vendor of vendors) {
    const devices =
      numbered === undefined
        ? unique(tables.flatMap((t) => t.deviceIds(vendor, name)))
        : [Number.parseInt(numbered, 16)];
    for (const device of devices) if (out.length < CANDIDATE_LIMIT) out.push({ vendor, device });
  }
  return out;
}

function matchOf(found: readonly DeviceId[]): NameMatch {
  const first = found[0];
  if (first === undefined) return NOTHING;
  if (found.length === 1) return { ...first, candidates: undefined };
  const same = found.every((id) => id.vendor === first.vendor);
  return { vendor: same ? first.vendor : undefined, device: undefined, candidates: found };
}

/** Subsystem ids as far as they are unambiguous; `owner` is the function's own match. */
export function resolveSubsystem(
  text: string,
  owner: Pick<NameMatch, "vendor" | "device">,
  tables: readonly NameTable[],
): readonly [number | undefined, number | undefined] {
  const name = collapse(text);
  for (const end of beginnings(name)) {
    const vendors = unique(tables.flatMap((t) => t.vendorIds(name.slice(0, end))));
    if (vendors.length === 0) continue;
    const rest = name.slice(end).trimStart();
    const numbered = NUMBERED.exec(rest)?.[1];
    const subVendor = vendors.length === 1 ? vendors[0] : undefined;
    if (numbered !== undefined) return [subVendor, Number.parseInt(numbered, 16)];
    const { vendor, device } = owner;
    if (vendor !== undefined && device !== undefined) {
      const listed = tables
        .flatMap((t) => t.subsystemIds(vendor, device, rest))
        .filter(([v]) => vendors.includes(v));
      const pairs = unique(listed.map(([v, d]) => v * 65536 + d));
      if (pairs.length === 1 && pairs[0] !== undefined) {
        return [Math.floor(pairs[0] / 65536), pairs[0] % 65536];
      }
      // A subsystem that repeats the function's own ids is printed under the device's name.
      if (subVendor === vendor && tables.some((t) => t.deviceIds(vendor, rest).includes(device))) {
        return [vendor, device];
      }
    }
    return [subVendor, undefined];
  }
  return [undefined, undefined];
}

/** Ends of all beginnings that stop before a blank, longest first. */
function beginnings(name: string): number[] {
  const out: number[] = [];
  for (let at = name.indexOf(" "); at > 0 && out.length < 24; at = name.indexOf(" ", at + 1)) {
    out.push(name.charCodeAt(at - 1) === 0x3a ? at - 1 : at);
  }
  return out.reverse();
}

function collapse(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

function unique(values: readonly number[]): number[] {
  return values.length < 2 ? [...values] : [...new Set(values)];
}
