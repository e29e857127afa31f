/** Sorts the paths of a sysfs tree: attributes by function, group members, slots, IOMMU units. */
import type { ChildDomain, SeenIommu } from "../../isolation/index.js";
import { type Bdf, type InputPlace, parseBdf } from "../../units/index.js";
import { ascii } from "./acpi-reader.js";
import type { SysfsFiles } from "./sysfs-files.js";

const BDF_NAME = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i;
const GROUP_MEMBER = /(?:^|\/)iommu_groups\/(\d{1,9})\/devices\/([^/]+)$/;
const GROUP_ATTRIBUTE = /(?:^|\/)iommu_groups\/(\d{1,9})\/(type|reserved_regions)$/;
const UNIT_MEMBER = /(?:^|\/)iommu\/([^/]+)\/devices\/([^/]+)$/;
const UNIT_ATTRIBUTE = /(?:^|\/)iommu\/([^/]+)\/(intel-iommu|amd-iommu)\/([a-z]+)$/;
const UNIT_CLASS = /(?:^|\/)class\/iommu\/([^/]+)$/;
const SLOT = /(?:^|\/)pci\/slots\/([^/]+)\/address$/;
/** Attributes longer than this are no attributes. */
const TEXT_LIMIT = 65536;

/** What the tree says of one function. */
export class Draft {
  readonly bdf: Bdf;
  directory = "";
  driver: string | undefined;
  group: number | undefined;
  physfn: Bdf | undefined;
  parent: Bdf | null | undefined;
  readonly #file: string;
  readonly #attributes = new Map<string, Uint8Array>();

  constructor(bdf: Bdf, file: string) {
    this.bdf = bdf;
    this.#file = file;
  }

  /** The tree shows the function itself, not only a link that names it. */
  get isShown(): boolean {
    return this.#attributes.size > 0 || this.parent !== undefined;
  }

  set(name: string, bytes: Uint8Array): void {
    if (!this.#attributes.has(name) && bytes.length > 0) this.#attributes.set(name, bytes);
  }

  file(name: string): Uint8Array | undefined {
    return this.#attributes.get(name);
  }

  /** Without surrounding blanks; undefined when the attribute is not there. */
  text(name: string): string | undefined {
    const bytes = this.#attributes.get(name);
    return bytes === undefined ? undefined : decode(bytes);
  }

  place(name: string): InputPlace {
    const file = this.directory === "" ? this.#file : `${this.#file}/${this.directory}`;
    return { file, field: name };
  }
}

export class SysfsIndex {
  readonly file: string;
  readonly functions = new Map<Bdf, Draft>();
  /** (group, device) from the group's own directory. */
  readonly members: [number, Bdf][] = [];
  readonly groupAttributes = new Map<number, { type?: string; regions?: string }>();
  /** bdf / 8 → slot name. */
  readonly slots = new Map<number, string>();
  readonly childDomains = new Map<number, ChildDomain>();
  /** Some function has a `driver` link: then one without it has no driver. */
  keepsDriverLinks = false;
  showsGroupDirectory = false;
  showsUnitDirectory = false;
  readonly #unitDevices = new Map<object, Bdf[]>();
  readonly #units = new Map<string, { -readonly [K in keyof SeenIommu]: SeenIommu[K] }>();

  constructor(tree: SysfsFiles, file: string) {
    this.file = file;
    for (const [path, bytes] of tree.files) this.#fileAt(path, bytes);
    for (const [path, target] of tree.links) this.#linkAt(path, target);
    for (const path of tree.directories) this.#directoryAt(path);
  }

  get units(): SeenIommu[] {
    return [...this.#units.values()];
  }

  #fileAt(path: string, bytes: Uint8Array): void {
    const [directory, name] = splitLast(path);
    const [above, owner] = splitLast(directory);
    if (BDF_NAME.test(owner)) {
      const draft = this.#draft(owner);
      if (draft === undefined) return;
      draft.set(name, bytes);
      if (draft.directory === "" || above.includes("/devices/pci")) draft.directory = directory;
      this.#pathOf(draft, directory);
      return;
    }
    const attribute = GROUP_ATTRIBUTE.exec(path);
    if (attribute !== null) {
      const entry = this.groupAttributes.get(Number(attribute[1])) ?? {};
      if (attribute[2] === "type") entry.type = decode(bytes);
      else entry.regions = decode(bytes);
      this.groupAttributes.set(Number(attribute[1]), entry);
      return;
    }
    const unit = UNIT_ATTRIBUTE.exec(path);
    if (unit !== null) this.#unitAttribute(unit, path, decode(bytes));
    const slot = SLOT.exec(path);
    if (slot !== null) {
      const at = parseBdf(`${decode(bytes)}.0`);
      if (at !== undefined) this.slots.set(Math.floor(at / 8), slot[1] ?? "");
    }
  }

  #linkAt(path: string, target: string): void {
    const [directory, name] = splitLast(path);
    const [, owner] = splitLast(directory);
    const last = splitLast(target.replace(/\/$/, ""))[1];
    if (BDF_NAME.test(name)) {
      this.#deviceLink(path, name, target);
      return;
    }
    const unit = UNIT_CLASS.exec(path);
    if (unit !== null) this.#unit(unit[1] ?? "", target);
    if (!BDF_NAME.test(owner)) return;
    const draft = this.#draft(owner);
    if (draft === undefined) return;
    this.#pathOf(draft, directory);
    if (name === "driver") {
      draft.driver ??= last;
      this.keepsDriverLinks = true;
    } else if (name === "iommu_group" && /^\d{1,9}$/.test(last)) draft.group = Number(last);
    else if (name === "physfn") draft.physfn = parseBdf(last);
    else if (/^virtfn\d+$/.test(name)) {
      const vf = this.#draft(last);
      if (vf !== undefined) vf.physfn ??= draft.bdf;
    }
  }

  #deviceLink(path: string, name: string, target: string): void {
    const draft = this.#draft(name);
    if (draft === undefined) return;
    const member = GROUP_MEMBER.exec(path);
    if (member !== null) this.members.push([Number(member[1]), draft.bdf]);
    const unit = UNIT_MEMBER.exec(path);
    if (unit !== null) {
      const seen = this.#unit(unit[1] ?? "", path);
      const devices = this.#unitDevices.get(seen) ?? [];
      devices.push(draft.bdf);
      this.#unitDevices.set(seen, devices);
      seen.devices = devices;
    }
    this.#pathOf(draft, target);
  }

  #directoryAt(path: string): void {
    const clean = path.replace(/\/$/, "");
    if (/(?:^|\/)iommu_groups$/.test(clean)) this.showsGroupDirectory = true;
    if (/(?:^|\/)class\/iommu$/.test(clean)) this.showsUnitDirectory = true;
    const unit = UNIT_CLASS.exec(clean);
    if (unit !== null) this.#unit(unit[1] ?? "", clean);
    const member = GROUP_MEMBER.exec(clean);
    const bdf = member === null ? undefined : parseBdf(member[2] ?? "");
    if (member !== null && bdf !== undefined) this.members.push([Number(member[1]), bdf]);
  }

  /** Parent and child domain from …/pci0000:00/0000:00:01.0/0000:01:00.0. */
  #pathOf(draft: Draft, path: string): void {
    if (draft.parent !== undefined) return;
    const parts = path.split("/");
    const above = parts[parts.length - 2] ?? "";
    if (
      parts[parts.length - 1] === undefined ||
      parseBdf(parts[parts.length - 1] ?? "") !== draft.bdf
    )
      return;
    if (BDF_NAME.test(above)) draft.parent = parseBdf(above);
    else if (/^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/i.test(above)) {
      draft.parent = null;
      const owner = parseBdf(parts[parts.length - 3] ?? "");
      const segment = Math.floor(draft.bdf / 65536);
      if (owner !== undefined) this.childDomains.set(segment, { segment, owner });
    }
  }

  #unit(name: string, path: string): { -readonly [K in keyof SeenIommu]: SeenIommu[K] } {
    let unit = this.#units.get(name);
    if (unit === undefined) {
      unit = { kind: unitKind(name), name };
      this.#units.set(name, unit);
    }
    const at = /([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7])\/(?:virtio\d+\/)?iommu\//i.exec(
      path,
    );
    const bdf = parseBdf(at?.[1] ?? name);
    if (bdf !== undefined) unit.at ??= bdf;
    return unit;
  }

  #unitAttribute(m: RegExpExecArray, path: string, text: string): void {
    const unit = this.#unit(m[1] ?? "", path);
    const value = /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
    if (m[2] === "intel-iommu") {
      unit.kind = "vt-d";
      if (value === undefined) return;
      if (m[3] === "cap") unit.cap = value;
      else if (m[3] === "ecap") unit.ecap = value;
      else if (m[3] === "address") unit.registerBase = value;
      return;
    }
    unit.kind = "amd-vi";
    const features = /^([0-9a-f]{1,16})(?::([0-9a-f]{1,16}))?$/i.exec(text);
    if (m[3] !== "features" || features === null) return;
    // Newer kernels print both registers, the first one first.
    unit.efr = BigInt(`0x${features[1]}`);
    if (features[2] !== undefined) unit.efr2 = BigInt(`0x${features[2]}`);
  }

  #draft(name: string): Draft | undefined {
    const bdf = parseBdf(name);
    if (bdf === undefined) return undefined;
    let draft = this.functions.get(bdf);
    if (draft === undefined) {
      draft = new Draft(bdf, this.file);
      this.functions.set(bdf, draft);
    }
    return draft;
  }
}

function unitKind(name: string): SeenIommu["kind"] {
  if (name.startsWith("dmar")) return "vt-d";
  if (name.startsWith("ivhd")) return "amd-vi";
  if (name.startsWith("smmu3")) return "smmuv3";
  if (name.startsWith("smmu")) return "smmu";
  if (name.startsWith("riscv")) return "riscv";
  return /^(?:virtio|[0-9a-f]{4}:)/i.test(name) ? "virtio" : "other";
}

export function splitLast(path: string): [string, string] {
  const at = path.lastIndexOf("/");
  return at < 0 ? ["", path] : [path.slice(0, at), path.slice(at + 1)];
}

/** Attribute text up to a NUL, without surrounding blanks. */
export function decode(bytes: Uint8Array): string {
  let out = "";
  const end = Math.min(bytes.length, TEXT_LIMIT);
  for (let i = 0; i < end; i++) {
    const code = bytes[i] ?? 0;
    // An archive pads attributes with NULs up to the size that sysfs claims.
    if (code === 0) break;
    out += code === 10 || code === 9 ? String.fromCharCode(code) : ascii(bytes, i, 1);
  }
  return out.trim();
}
