/**
 * A pci.ids file as a name table, indexed only as far as it is asked.
 *
 * The format (man 5 pci.ids): vendors at the line start, devices behind one tab, subsystems behind
 * two, and classes as `C nn name` with sub-classes behind one tab. One pass finds where vendors
 * begin; a vendor's devices are read when the first of its names is looked up. An id may be listed
 * several times under several names: the shipped table does so for renamed entries.
 */
import { InputError } from "../../units/index.js";
import type { NameTable, SubsystemId } from "./names.js";

interface Section {
  readonly id: number;
  readonly from: number;
  to: number;
}

/**
 * @throws InputError when the text has no line of the form `hhhh  name`.
 */
export function parsePciIds(text: string, file = "pci.ids"): NameTable {
  return new PciIds(text, file);
}

class PciIds implements NameTable {
  readonly #text: string;
  readonly #vendors = new Map<string, Section[]>();
  readonly #byId = new Map<number, Section[]>();
  readonly #devices = new Map<number, VendorDevices>();
  readonly #classes = new Map<string, number>();
  #classSections: Section[] = [];
  #classesRead = false;

  constructor(text: string, file: string) {
    this.#text = text;
    let open: Section | undefined;
    for (let at = 0; at < text.length; ) {
      const code = text.charCodeAt(at);
      if (code !== 9 && code !== 0x23 && code !== 10) {
        if (open !== undefined) open.to = at;
        open = this.#section(at);
      }
      const end = text.indexOf("\n", at);
      if (end < 0) break;
      at = end + 1;
    }
    if (open !== undefined) open.to = text.length;
    if (this.#vendors.size === 0) {
      throw new InputError(
        "no vendor in the list of names",
        { file },
        "lines such as `8086  Intel`",
      );
    }
  }

  #section(at: number): Section | undefined {
    const end = endOfLine(this.#text, at);
    const line = this.#text.slice(at, end);
    const section: Section = {
      id: idOf(line, 0),
      from: Math.min(end + 1, this.#text.length),
      to: 0,
    };
    if (line.startsWith("C ")) {
      const base = { ...section, id: Number.parseInt(line.slice(2, 4), 16) };
      this.#classSections.push(base);
      return base;
    }
    if (Number.isNaN(section.id)) return undefined;
    push(this.#vendors, nameOf(line, 4), section);
    push(this.#byId, section.id, section);
    return section;
  }

  classId(name: string): number | undefined {
    if (!this.#classesRead) {
      this.#classesRead = true;
      for (const section of this.#classSections) {
        for (const line of lines(this.#text, section)) {
          if (line.charCodeAt(0) !== 9 || line.charCodeAt(1) === 9) continue;
          const sub = Number.parseInt(line.slice(1, 3), 16);
          const key = line.slice(3).trim();
          if (!Number.isNaN(sub) && !this.#classes.has(key)) {
            this.#classes.set(key, section.id * 256 + sub);
          }
        }
      }
    }
    return this.#classes.get(name);
  }

  vendorIds(name: string): readonly number[] {
    const sections = this.#vendors.get(name);
    return sections === undefined ? NO_IDS : sections.map((s) => s.id);
  }

  deviceIds(vendor: number, name: string): readonly number[] {
    return this.#devicesOf(vendor).byName.get(name) ?? NO_IDS;
  }

  #devicesOf(vendor: number): VendorDevices {
    let devices = this.#devices.get(vendor);
    if (devices === undefined) {
      devices = this.#readDevices(vendor);
      this.#devices.set(vendor, devices);
    }
    return devices;
  }

  #readDevices(vendor: number): VendorDevices {
    const out: VendorDevices = { byName: new Map(), below: new Map() };
    for (const section of this.#byId.get(vendor) ?? []) {
      let open: Section | undefined;
      for (let at = section.from; at < section.to; ) {
        const end = endOfLine(this.#text, at);
        if (this.#text.charCodeAt(at) === 9 && this.#text.charCodeAt(at + 1) !== 9) {
          const line = this.#text.slice(at, end);
          const id = idOf(line, 1);
          if (!Number.isNaN(id)) push(out.byName, nameOf(line, 5), id);
          if (open !== undefined) open.to = at;
          open = { id, from: end + 1, to: section.to };
          push(out.below, id, open);
        }
        at = end + 1;
      }
    }
    return out;
  }

  subsystemIds(vendor: number, device: number, name: string): readonly SubsystemId[] {
    const out: SubsystemId[] = [];
    for (const section of this.#devicesOf(vendor).below.get(device) ?? []) {
      for (const line of lines(this.#text, section)) {
        if (!line.startsWith("\t\t") || nameOf(line, 11) !== name) continue;
        const [v, d] = [idOf(line, 2), idOf(line, 7)];
        if (!Number.isNaN(v) && !Number.isNaN(d)) out.push([v, d]);
      }
    }
    return out;
  }
}

interface VendorDevices {
  readonly byName: Map<string, number[]>;
  /** The lines below each device. */
  readonly below: Map<number, Section[]>;
}

const NO_IDS: readonly number[] = [];

function* lines(text: string, section: Section): Generator<string> {
  for (let at = section.from; at < section.to; ) {
    const end = Math.min(endOfLine(text, at), section.to);
    yield text.slice(at, end);
    at = end + 1;
  }
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

function idOf(line: string, at: number): number {
  const digits = line.slice(at, at + 4);
  return /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
}

function nameOf(line: string, at: number): string {
  return line.slice(at).replace(/\s+/g, " ").trim();
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
