/**
 * Device lists: one line per function, `DEV 0000:00:1f.2 vendor=0x8086 device=0x2922 class=…
 * driver=… path=…`, as a boot script writes them from sysfs. `-` or nothing means that the kernel
 * shows none.
 */
import type { SeenIommu } from "../../isolation/index.js";
import { type Bdf, InputError, parseBdf } from "../../units/index.js";
import type { CapturedFunction, CapturePart } from "../capture.js";
import { groupsFrom, unknownFunction } from "./groups-list.js";
import type { TextLines } from "./text.js";

const LINE = /^DEV ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s+(\S.*)$/i;

export function looksLikeDeviceList(head: string): boolean {
  return /^DEV [0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7] \w+=/im.test(head);
}

/** Undefined without any device line. @throws InputError when a field has another form. */
export function parseDeviceList(text: TextLines): CapturePart | undefined {
  const functions: CapturedFunction[] = [];
  const pairs: [number, Bdf][] = [];
  const units = new Map<string, Bdf[]>();
  let showsGroups = false;
  for (let i = 0; i < text.length; i++) {
    const m = LINE.exec(text.lines[i] ?? "");
    const bdf = m === null ? undefined : parseBdf(m[1] ?? "");
    if (m === null || bdf === undefined) continue;
    const line = new DeviceLine(text, i, m[2] ?? "");
    functions.push(describe(bdf, line));
    const group = line.value("group");
    showsGroups ||= line.has("group");
    if (group !== undefined) pairs.push([line.decimal("group", group), bdf]);
    const unit = line.value("iommu");
    if (unit !== undefined) {
      const devices = units.get(unit) ?? [];
      devices.push(bdf);
      units.set(unit, devices);
    }
  }
  if (functions.length === 0) return undefined;
  const place = { file: text.file };
  const iommus = [...units].flatMap(([name, devices]) => seenUnit(name, devices));
  return {
    kind: "device-list",
    place,
    functions,
    ...(showsGroups && { recorded: { from: "sysfs", place, groups: groupsFrom(pairs) } }),
    ...(iommus.length > 0 && { facts: { iommus } }),
  };
}

class DeviceLine {
  readonly text: TextLines;
  readonly index: number;
  readonly #fields = new Map<string, string>();

  constructor(text: TextLines, index: number, fields: string) {
    this.text = text;
    this.index = index;
    for (const field of fields.split(/\s+/)) {
      const at = field.indexOf("=");
      if (at > 0) this.#fields.set(field.slice(0, at), field.slice(at + 1));
    }
  }

  has(name: string): boolean {
    return this.#fields.has(name);
  }

  /** Undefined for a field that is missing, empty or `-`. */
  value(name: string): string | undefined {
    const text = this.#fields.get(name);
    return text === undefined || text === "" || text === "-" ? undefined : text;
  }

  hex(name: string, limit: number): number | undefined {
    const text = this.value(name);
    if (text === undefined) return undefined;
    const value = /^(?:0x)?[0-9a-f]{1,8}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
    if (value <= limit) return value;
    throw this.error(name, text, "hexadecimal digits");
  }

  decimal(name: string, text: string): number {
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw this.error(name, text, "a number");
  }

  bdf(name: string): Bdf | undefined {
    const text = this.value(name);
    if (text === undefined) return undefined;
    const bdf = parseBdf(text.slice(text.lastIndexOf("/") + 1));
    if (bdf === undefined) throw this.error(name, text, "dddd:bb:dd.f");
    return bdf;
  }

  error(name: string, text: string, expected: string): InputError {
    const place = this.text.place(this.index, name);
    return new InputError(`"${text.slice(0, 40)}" cannot be read`, place, expected);
  }
}

function describe(bdf: Bdf, line: DeviceLine): CapturedFunction {
  const [subVendor, subDevice] = (line.value("sub") ?? "").split(":");
  const physfn = line.bdf("physfn");
  const parent = parentIn(line.value("path"));
  const driver = line.value("driver") ?? (line.has("driver") ? null : undefined);
  return {
    ...unknownFunction(bdf, line.text.place(line.index)),
    idsFrom: line.value("vendor") === undefined ? "none" : "numeric",
    ids: {
      vendor: line.hex("vendor", 0xffff),
      device: line.hex("device", 0xffff),
      subVendor: subVendor ? Number.parseInt(subVendor, 16) : undefined,
      subDevice: subDevice ? Number.parseInt(subDevice, 16) : undefined,
      revision: line.hex("rev", 0xff),
      classCode: line.hex("class", 0xffffff),
    },
    ...(physfn !== undefined && { physfn }),
    ...(parent !== undefined && { parent }),
    ...(driver !== undefined && { driver }),
  };
}

/** The part before the last of a /sys/devices path; null below a host bridge. */
function parentIn(path: string | undefined): Bdf | null | undefined {
  const parts = path?.split("/") ?? [];
  const above = parts[parts.length - 2] ?? "";
  return /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/i.test(above) ? null : parseBdf(above);
}

/**
 * AMD units show an `iommu` directory of their own under the unit's function: that is no unit name.
 */
function seenUnit(name: string, devices: readonly Bdf[]): SeenIommu[] {
  if (name === "iommu") return [];
  const kind = name.startsWith("dmar") ? "vt-d" : name.startsWith("ivhd") ? "amd-vi" : "other";
  const at = parseBdf(name);
  if (at !== undefined) return [{ kind: "virtio", name, at, devices }];
  return [{ kind, name, devices }];
}
