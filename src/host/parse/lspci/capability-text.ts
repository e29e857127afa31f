/**
 * Capability paragraphs: their titles, their register lines, and the chains they form.
 *
 * lspci walks each chain in order, so the order of paragraphs gives every link. A chain that lspci
 * reports as looped or broken ends at its last good entry.
 */
import { CapabilityId, ExtendedCapabilityId } from "../../../pcie/index.js";
import { capabilityId, UNKNOWN_EXTENDED, UNKNOWN_STANDARD } from "./capability-names.js";
import type { RegisterWriter } from "./registers.js";

export interface CapabilityText {
  readonly offset: number;
  readonly extended: boolean;
  readonly version: number | undefined;
  /** Undefined for a title that is not known. */
  readonly id: number | undefined;
  readonly title: string;
  /**
   * Register label → its text, continuation lines included. Only for capabilities that are decoded.
   */
  readonly registers: Map<string, string>;
  /** `Region n: …` lines inside the paragraph (VF BARs). */
  readonly regions: string[];
}

/** What a `Capabilities:` line says. */
export type CapabilityLine =
  | { readonly kind: "capability"; readonly capability: CapabilityText }
  | { readonly kind: "denied" | "broken" | "other" };

const LINE = /^Capabilities: \[([0-9a-f]{2,3})(?: v(\d{1,2}))?\] ?(.*)$/i;

export function readCapabilityLine(text: string): CapabilityLine {
  const m = LINE.exec(text);
  if (m === null) {
    if (text.includes("denied") || text.includes("unreadable")) return { kind: "denied" };
    return { kind: text.includes("<chain") ? "broken" : "other" };
  }
  const title = m[3] as string;
  const offset = Number.parseInt(m[1] as string, 16);
  if (title.startsWith("<chain") || offset < 0x40 || offset % 4 !== 0) return { kind: "broken" };
  const extended = offset >= 0x100;
  const capability: CapabilityText = {
    offset,
    extended,
    version: m[2] === undefined ? undefined : Number(m[2]),
    id: capabilityId(title, extended),
    title,
    registers: new Map(),
    regions: [],
  };
  return { kind: "capability", capability };
}

const LABELS: ReadonlySet<string> = new Set(
  (
    "DevCap DevCtl DevSta LnkCap LnkCtl LnkSta SltCap SltCtl SltSta RootCap RootCtl RootSta " +
    "DevCap2 DevCtl2 LnkCap2 LnkCtl2 LnkSta2 ACSCap ACSCtl ATSCap ATSCtl PRICtl PRISta " +
    "PASIDCap PASIDCtl ARICap ARICtl IOVCap IOVCtl IOVSta"
  ).split(" "),
);

const DECODED: ReadonlySet<number> = new Set([
  ExtendedCapabilityId.Acs,
  ExtendedCapabilityId.Ari,
  ExtendedCapabilityId.Ats,
  ExtendedCapabilityId.Pri,
  ExtendedCapabilityId.Pasid,
  ExtendedCapabilityId.SrIov,
]);

/** Register text longer than this is cut: real registers fill a few lines. */
const REGISTER_LIMIT = 4096;

/** Collects the register lines of one capability as they come. */
export class RegisterCollector {
  readonly capability: CapabilityText;
  readonly #wanted: boolean;
  #label = "";

  constructor(capability: CapabilityText) {
    this.capability = capability;
    const { extended, id } = capability;
    this.#wanted =
      id !== undefined && (extended ? DECODED.has(id) : id === CapabilityId.PciExpress);
  }

  add(line: string): void {
    if (!this.#wanted) return;
    if (line.startsWith("Region ")) {
      if (this.capability.regions.length < 6) this.capability.regions.push(line);
      return;
    }
    const colon = line.indexOf(":");
    const label = colon > 0 && colon < 12 ? line.slice(0, colon) : "";
    const { registers } = this.capability;
    if (LABELS.has(label)) {
      this.#label = label;
      if (!registers.has(label)) registers.set(label, line.slice(colon + 1));
      return;
    }
    const text = registers.get(this.#label) ?? "";
    if (text.length < REGISTER_LIMIT) registers.set(this.#label, `${text} ${line}`);
  }
}

export interface Chains {
  readonly capabilities: readonly CapabilityText[];
  /** lspci said that a chain loops or breaks. */
  readonly broken: boolean;
}

/**
 * Writes both chains: heads, ids, versions and links. `pointer` is where the standard chain's head
 * sits.
 */
export function putChains(out: RegisterWriter, chains: Chains, pointer: number): void {
  const standard = chains.capabilities.filter((c) => !c.extended);
  const extended = chains.capabilities.filter((c) => c.extended);
  const exact = chains.broken ? 0 : 0xfc;
  out.put(pointer, 1, standard[0]?.offset ?? 0, standard.length > 0 ? 0xfc : 0);
  standard.forEach((capability, i) => {
    const { offset, id } = capability;
    out.put(offset, 1, id ?? UNKNOWN_STANDARD, id === undefined ? 0 : 0xff);
    out.put(offset + 1, 1, standard[i + 1]?.offset ?? 0, exact);
  });
  if (!standard.some((c) => c.id === CapabilityId.PciExpress) && extended.length === 0) return;
  if (extended[0]?.offset !== 0x100) out.put(0x100, 4, ((extended[0]?.offset ?? 0) << 20) >>> 0);
  extended.forEach(({ offset, id, version }, i) => {
    const next = extended[i + 1]?.offset ?? 0;
    const value = ((id ?? UNKNOWN_EXTENDED) | ((version ?? 1) << 16) | (next << 20)) >>> 0;
    const decided =
      (id === undefined ? 0 : 0xffff) |
      (version === undefined ? 0 : 0xf0000) |
      (chains.broken ? 0 : 0xffc00000);
    out.put(offset, 4, value, decided);
  });
}
