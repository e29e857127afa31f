/**
 * What a hostile endpoint can reach, from the configuration alone: tables of pages by place in the
 * tree, a plain map of pages for each (requester, PASID), and the gates on the way. Shares no code
 * with routing, translation, drivers or analysis.
 *
 * Vocabulary. The attacker's *path* is the attacker (level 0), the port above it (level 1), and so
 * on to the root bus. A request *turns* at a level when a peer on that level's bus takes it. A
 * *gate* at a level refuses a request that enters there; it counts for requests that turn at that
 * level or later.
 */
import {
  AGENT,
  BLOCKED,
  EXPOSURES,
  type ExposureName,
  type Fates,
  fatesOf,
  isAtOrAbove,
  pathOf,
  TOP,
} from "./hostile-fates.js";
import {
  AcsBit,
  type HostileHost,
  type HostileNode,
  isOwned,
  type Pages,
  ridOfNode,
} from "./hostile-host.js";

/** Access that an entry permits. */
export const READ = 1;
export const WRITE = 2;

export interface HostileMap {
  /** The frame it leads to. */
  pa: number;
  perm: number;
}

export interface HostileInterrupt {
  readonly index: number;
  readonly vector: number;
  readonly destination: number;
  /** Who may send it: requester, or buses first to last. */
  readonly requester: number | undefined;
  readonly buses: Pages | undefined;
}

export const Access = { read: READ, write: WRITE, atomic: READ | WRITE } as const;
export const Type = { untranslated: 0, translationRequest: 1, translated: 2 } as const;

/** One request as the attacker sends it. */
export interface HostileRequest {
  rid: number;
  /** -1 without a prefix. */
  pasid: number;
  type: number;
  access: number;
  pfn: number;
  offset: number;
  length: number;
  /** The first four bytes of a write, little-endian. */
  word: number;
  /** An entry of a table to write, 8 bytes; -1: other bytes. */
  entry: number;
  /** Of the prefix. */
  privileged: boolean;
  execute: boolean;
}

export const Place = {
  nothing: 0,
  /** `frame` is a frame of user memory. */
  memory: 1,
  /** `frame` is a page behind a BAR. */
  bar: 2,
  /** `frame` is a frame of tables. */
  table: 3,
  interrupt: 4,
  /** The device is told of `frame`, with the rights in `perm`. */
  translation: 5,
} as const;
export type Place = (typeof Place)[keyof typeof Place];

const FEE_FIRST = 0xfee00;
const FEE_LAST = 0xfeeff;

const indexOf = (name: ExposureName): number => EXPOSURES.indexOf(name);
const OWN = indexOf("own");
const SHARED = indexOf("shared");
const FORGED_BUS = indexOf("forged-bus");
const FORGED_RANGE = indexOf("forged-range");
const FORGED_ANY = indexOf("forged-any");
const TRANSLATED = indexOf("translated");
const OUTSIDE = indexOf("outside");
const INTERRUPT_ANY = indexOf("interrupt-any");
const INTERRUPT_FORGED = indexOf("interrupt-forged");

/** A table that changes as it is written to. */
export interface GuestTable {
  walk(pfn: number): HostileMap | undefined;
}

/** Rows of the IOMMU: what was attached, as the test did it. */
export class HostileRows {
  /** By `rowKey`. */
  readonly maps = new Map<number, Map<number, HostileMap>>();
  /** The same of units that the attacker's requests do not reach. */
  readonly elsewhere = new Map<number, Map<number, HostileMap>>();
  /** Rows with a guest's table. */
  readonly guests = new Map<number, GuestTable>();
  /** Rows with a stage-1 table, which refuses requests that are privileged or execute. */
  readonly stage1 = new Set<number>();
  /** Requesters whose translated requests are let pass. */
  readonly ats = new Set<number>();
  /** Requesters that may send prefixes. */
  readonly prefixes = new Set<number>();
  readonly interrupts: HostileInterrupt[] = [];
}

/** `pasid` -1: requests without one. */
export const rowKey = (rid: number, pasid: number): number => rid * 0x20_0000 + pasid + 1;

export class HostileOracle {
  /** The answer to the last {@link predict}. */
  place: Place = Place.nothing;
  frame = 0;
  perm = 0;
  exposure = OWN;
  /** The requester as it arrives at the IOMMU; -1 when it does not. */
  arrives = -1;
  vector = 0;
  destination = 0;
  remapped = false;
  /** By way of a guest's table. */
  byGuest = false;
  /** It would have reached something at another unit. */
  isElsewhere = false;

  readonly #host: HostileHost;
  readonly #rows: HostileRows;
  readonly #isMemory: (pfn: number) => boolean;
  readonly #isTable: (pfn: number) => boolean;
  readonly #plain: Fates;
  readonly #translated: Fates;
  /** From which level on a prefix, a forged bus, a type other than untranslated is refused. */
  readonly #prefixLevel: number;
  readonly #busLevel = new Int32Array(256).fill(TOP + 1);
  readonly #typeLevel: number;
  readonly #viaBridge: HostileNode | undefined;
  /** The number that is put in place of the requester's on the way; -1: none. */
  readonly #sendsAs: number;
  readonly #validates: boolean;
  /** BARs by page of the MMIO range: index of the function, or -1. */
  readonly #bars: Int32Array;
  /** By function: takes prefixes, and so do all ports above it. */
  readonly #reachedWithPrefix: readonly boolean[];

  constructor(
    host: HostileHost,
    rows: HostileRows,
    isMemory: (pfn: number) => boolean,
    isTable: (pfn: number) => boolean,
  ) {
    this.#host = host;
    this.#rows = rows;
    this.#isMemory = isMemory;
    this.#isTable = isTable;
    const { attacker, functions, mmio } = host;
    const path = pathOf(attacker);
    this.#viaBridge = path.find((node) => node.kind === "pcie-to-pci-bridge");
    const owner = isOwned(attacker) ? host.vmd : undefined;
    const bridge = this.#viaBridge;
    this.#sendsAs =
      owner !== undefined ? ridOfNode(owner) : bridge === undefined ? -1 : bridge.secondary * 256;
    let prefixLevel = attacker.kind === "conventional" ? 0 : TOP + 1;
    let typeLevel = TOP + 1;
    path.forEach((node, level) => {
      if (level === 0) return;
      if (!node.takesPrefix) prefixLevel = Math.min(prefixLevel, level);
      // Behind a bridge nothing is left to check: it puts in its own number and drops the type.
      if (this.#viaBridge !== undefined || node.kind === "switch-upstream") return;
      const acs = node.acs ?? 0;
      if ((acs & AcsBit.TB) !== 0) typeLevel = Math.min(typeLevel, level);
      if ((acs & AcsBit.SV) === 0) return;
      for (let bus = 0; bus < 256; bus++) {
        if (bus >= node.secondary && bus <= node.subordinate) continue;
        this.#busLevel[bus] = Math.min(this.#busLevel[bus] as number, level);
      }
    });
    this.#prefixLevel = prefixLevel;
    this.#typeLevel = typeLevel;
    this.#validates = path.some(
      ({ acs, kind }) =>
        (kind === "root-port" || kind === "switch-downstream") && ((acs ?? 0) & AcsBit.SV) !== 0,
    );
    this.#bars = new Int32Array(mmio.last - mmio.first + 1).fill(-1);
    functions.forEach(({ bar }, i) => {
      if (bar !== undefined) this.#bars.fill(i, bar.first - mmio.first, bar.last - mmio.first + 1);
    });
    this.#reachedWithPrefix = functions.map((fn) => pathOf(fn).every((node) => node.takesPrefix));
    this.#plain = fatesOf(host, path, false);
    this.#translated = fatesOf(host, path, true);
  }

  /** Where the request ends: fills the fields. */
  predict(request: HostileRequest): void {
    this.place = Place.nothing;
    this.exposure = OWN;
    this.arrives = -1;
    this.byGuest = this.isElsewhere = false;
    const { pfn, rid, type } = request;
    const hasPrefix = request.pasid >= 0;
    const { mmio } = this.#host;
    let to = AGENT;
    let level = TOP;
    let exposure = OWN;
    if (pfn >= mmio.first && pfn <= mmio.last) {
      const fates = type === Type.translated ? this.#translated : this.#plain;
      to = fates.to[pfn - mmio.first] as number;
      level = fates.level[pfn - mmio.first] as number;
      exposure = fates.exposure[pfn - mmio.first] as number;
    }
    if (to === BLOCKED) return;
    if (hasPrefix && this.#prefixLevel <= level) return;
    if ((this.#busLevel[rid >>> 8] as number) <= level) return;
    if (type !== Type.untranslated && this.#typeLevel <= level) return;
    if (to === AGENT) this.#atAgent(request, hasPrefix);
    else if (!hasPrefix || this.#takesPrefixBelow(to, level)) {
      this.place = Place.bar;
      this.frame = pfn;
      this.exposure = exposure;
    }
  }

  /** From the turn down to the function. */
  #takesPrefixBelow(fn: number, level: number): boolean {
    const node = this.#host.functions[fn] as HostileNode;
    const turn = pathOf(this.#host.attacker)[level]?.parent;
    return pathOf(node).every((at) => isAtOrAbove(at, turn) || at.takesPrefix);
  }

  #atAgent(request: HostileRequest, hasPrefix: boolean): void {
    const { unit, covered } = this.#host;
    const bridge = this.#viaBridge;
    const rid = this.#sendsAs < 0 ? request.rid : this.#sendsAs;
    const type = bridge === undefined ? request.type : Type.untranslated;
    const { pfn } = request;
    this.arrives = rid;
    if (!covered) {
      this.#outside(request, hasPrefix);
      return;
    }
    if (unit === "single-table" && (hasPrefix || type !== Type.untranslated)) return;
    if (pfn >= FEE_FIRST && pfn <= FEE_LAST && !hasPrefix) {
      if (type !== Type.untranslated || request.access !== Access.write) return;
      if (request.length === 4 && request.offset % 4 === 0) this.#interrupt(request, rid);
      return;
    }
    if (unit === "legacy" && hasPrefix) return;
    if (type === Type.translated) {
      this.#passTranslated(request, rid, hasPrefix);
      return;
    }
    if (type === Type.translationRequest && !this.#rows.ats.has(rid)) return;
    const entry = this.#entryOf(rid, request);
    if (entry === undefined) return;
    const isSpecial = hasPrefix && (request.privileged || request.execute);
    const key = rowKey(rid, request.pasid === 0 ? -1 : request.pasid);
    if (isSpecial && this.#rows.stage1.has(key)) return;
    this.byGuest = this.#rows.guests.has(key);
    this.exposure = this.#whose(rid);
    if (type === Type.translationRequest) {
      this.place = Place.translation;
      this.frame = entry.pa;
      this.perm = entry.perm;
    } else if ((entry.perm & request.access) === request.access) this.#onward(entry.pa, hasPrefix);
  }

  /** Addresses are physical, whoever asks. */
  #outside(request: HostileRequest, hasPrefix: boolean): void {
    const { pfn, type } = request;
    const isMessage = type === Type.untranslated && !hasPrefix;
    if (pfn >= FEE_FIRST && pfn <= FEE_LAST && isMessage) {
      const isWord = request.length === 4 && request.offset % 4 === 0;
      if (request.access === Access.write && isWord) this.#message(request);
      return;
    }
    if (type === Type.translationRequest) return;
    this.exposure = OUTSIDE;
    this.#onward(pfn, hasPrefix);
  }

  #message(request: HostileRequest): void {
    this.place = Place.interrupt;
    this.exposure = INTERRUPT_ANY;
    this.remapped = false;
    this.vector = request.word & 0xff;
    this.destination = request.pfn & 0xff;
  }

  #entryOf(rid: number, { pasid, pfn }: HostileRequest): HostileMap | undefined {
    const { elsewhere, guests, prefixes } = this.#rows;
    const key = rowKey(rid, pasid === 0 ? -1 : pasid);
    this.isElsewhere = elsewhere.get(key)?.has(pfn) === true;
    const guest = pasid >= 0 && !prefixes.has(rid) ? undefined : guests.get(key);
    return guest === undefined ? this.#rowOf(rid, pasid)?.get(pfn) : guest.walk(pfn);
  }

  /** Without a prefix, or with PASID 0, the requester's own row. */
  #rowOf(rid: number, pasid: number): Map<number, HostileMap> | undefined {
    const { maps, prefixes } = this.#rows;
    if (this.#host.unit === "single-table") return maps.get(rowKey(0, -1));
    if (pasid >= 0 && !prefixes.has(rid)) return undefined;
    return maps.get(rowKey(rid, pasid === 0 ? -1 : pasid));
  }

  #passTranslated(request: HostileRequest, rid: number, hasPrefix: boolean): void {
    const { ats, maps } = this.#rows;
    if (!ats.has(rid)) return;
    // A legacy context entry is there only while something is attached.
    if (this.#host.unit === "legacy" && !maps.has(rowKey(rid, -1))) return;
    this.exposure = TRANSLATED;
    this.#onward(request.pfn, hasPrefix);
  }

  #onward(pfn: number, hasPrefix: boolean): void {
    const { mmio } = this.#host;
    if (pfn >= mmio.first && pfn <= mmio.last) {
      const fn = this.#bars[pfn - mmio.first] as number;
      if (fn < 0 || (hasPrefix && this.#reachedWithPrefix[fn] !== true)) return;
      this.place = Place.bar;
    } else if (this.#isMemory(pfn)) this.place = Place.memory;
    else if (this.#isTable(pfn)) this.place = Place.table;
    else return;
    this.frame = pfn;
  }

  /** Whose maps a requester's row is, seen from the attacker. */
  #whose(rid: number): number {
    const { attacker, unit } = this.#host;
    if (unit === "single-table") return SHARED;
    if (this.#sendsAs >= 0) return SHARED;
    if (rid === ridOfNode(attacker)) return OWN;
    if (rid >>> 8 === attacker.bus) return FORGED_BUS;
    return this.#validates ? FORGED_RANGE : FORGED_ANY;
  }

  /** VT-d 5.0 § 5.1.2: compatibility and remappable format. */
  #interrupt(request: HostileRequest, rid: number): void {
    const { unit, remapping } = this.#host;
    const address = (request.pfn & 0xff) * 4096 + request.offset;
    const { word } = request;
    if (unit === "single-table" || !remapping) {
      this.#message(request);
      return;
    }
    const isRemappable = (address & 0x10) !== 0;
    if (!isRemappable || word >>> 16 !== 0) return;
    const handle = ((address >>> 5) & 0x7fff) + (((address >>> 2) & 1) << 15);
    const index = (address & 8) !== 0 ? handle + word : handle;
    const entry = this.#rows.interrupts[index];
    if (entry === undefined) return;
    const { requester, buses } = entry;
    if (requester !== undefined && requester !== rid) return;
    if (buses !== undefined && !(rid >>> 8 >= buses.first && rid >>> 8 <= buses.last)) return;
    this.place = Place.interrupt;
    this.remapped = true;
    this.vector = entry.vector;
    this.destination = entry.destination;
    const isOwn = rid === ridOfNode(this.#host.attacker) || this.#sendsAs >= 0;
    this.exposure = isOwn ? OWN : INTERRUPT_FORGED;
  }
}
