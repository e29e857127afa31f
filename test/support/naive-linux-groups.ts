/**
 * A second opinion on Linux's groups: the rules as plain recursion over plain objects.
 *
 * Nothing is shared with the product: bytes are read here, topology is derived here, quirk rows
 * come from the JSON file and not from the generated module, nothing is remembered between
 * questions. Slow on purpose.
 */
import { readFileSync } from "node:fs";

export interface NaiveFunction {
  readonly seg: number;
  readonly bus: number;
  /** device * 8 + function */
  readonly df: number;
  readonly vendor: number;
  readonly device: number;
  /** 4096 bytes. */
  readonly bytes: Uint8Array;
  /** Physical function of a VF, as an index into the list. */
  readonly pf?: number | undefined;
}

export interface NaiveHost {
  readonly functions: readonly NaiveFunction[];
  readonly series: "6.1" | "6.12" | "7.2";
  /** An IVRS table exists. */
  readonly ivrs: boolean;
  readonly inScope: (fn: NaiveFunction) => boolean;
  /** IVRS alias of a function on its own bus, if any. */
  readonly ivrsAlias: (fn: NaiveFunction) => number | undefined;
}

interface Json {
  readonly acs: readonly { rule: string; ids: readonly string[] }[];
  readonly pchRootPorts: readonly { ids: readonly string[] }[];
  readonly sptRootPorts: readonly string[];
  readonly aliases: readonly {
    rule: string;
    ids: readonly string[];
    series?: readonly string[];
    devfns?: readonly string[];
    sub?: string;
    class?: string;
  }[];
  readonly hideSourceValidation: { ids: readonly string[]; series: readonly string[] };
}
// dist/test/support → repository root
const DATA = JSON.parse(
  readFileSync(new URL("../../../data/pci-quirks.json", import.meta.url), "utf8"),
) as Json;

const hex4 = (n: number) => n.toString(16).padStart(4, "0");
const idText = (f: NaiveFunction) => `${hex4(f.vendor)}:${hex4(f.device)}`;
const u16 = (f: NaiveFunction, at: number) => (f.bytes[at] ?? 0) + (f.bytes[at + 1] ?? 0) * 256;
const u32 = (f: NaiveFunction, at: number) => u16(f, at) + u16(f, at + 2) * 65536;
const between = (n: number, text: string) => {
  const [a = "", b = a] = text.split("-");
  return n >= parseInt(a, 16) && n <= parseInt(b, 16);
};

/** Group number of each function of the list; -1 = none. */
export function naiveGroups(host: NaiveHost): number[] {
  return new Naive(host).run();
}

class Naive {
  readonly host: NaiveHost;
  readonly all: readonly NaiveFunction[];
  readonly group = new Map<NaiveFunction, number>();

  constructor(host: NaiveHost) {
    this.host = host;
    this.all = host.functions;
  }

  run(): number[] {
    let next = 0;
    for (const d of this.enumeration()) {
      const s = this.realDevice(d);
      if (s === "no driver" || !this.host.inScope(s)) continue;
      const taken = this.groupFor(s);
      this.group.set(d, taken ?? next);
      if (taken === undefined) next++;
    }
    return this.all.map((f) => this.group.get(f) ?? -1);
  }

  /** Whole hierarchies from each root bus, low segments first; VFs afterwards. */
  enumeration(): NaiveFunction[] {
    const byPlace = (a: NaiveFunction, b: NaiveFunction) =>
      a.seg - b.seg || a.bus - b.bus || a.df - b.df;
    const roots = this.all.filter((f) => f.pf === undefined && !this.above(f)).sort(byPlace);
    const buses: string[] = [];
    const order: NaiveFunction[] = [];
    const scan = (seg: number, bus: number) => {
      if (buses.includes(`${seg}/${bus}`)) return;
      buses.push(`${seg}/${bus}`);
      const here = this.all
        .filter((f) => f.seg === seg && f.bus === bus && f.pf === undefined)
        .sort(byPlace);
      order.push(...here);
      for (const f of here) if (this.isBridge(f)) scan(seg, f.bytes[0x19] ?? 0);
    };
    for (const f of roots) scan(f.seg, f.bus);
    return [...order, ...this.all.filter((f) => f.pf !== undefined).sort(byPlace)];
  }

  isBridge(f: NaiveFunction): boolean {
    const type = (f.bytes[0x0e] ?? 0) & 0x7f;
    return (type === 1 || type === 2) && f.bytes[0x19] !== 0;
  }

  /** The bridge above; a VF off its PF's bus looks from there. */
  above(f: NaiveFunction): NaiveFunction | undefined {
    const pf = f.pf === undefined ? undefined : this.all[f.pf];
    const bus = this.all.find(
      (b) => b.seg === f.seg && this.isBridge(b) && b.bytes[0x19] === f.bus,
    );
    if (bus !== undefined) return bus;
    return pf !== undefined && pf.bus !== f.bus ? this.above(pf) : undefined;
  }

  allAbove(f: NaiveFunction): NaiveFunction[] {
    const b = this.above(f);
    return b === undefined ? [] : [b, ...this.allAbove(b)];
  }

  capability(f: NaiveFunction): number {
    if (((f.bytes[6] ?? 0) & 0x10) === 0) return 0;
    const find = (at: number): number =>
      at === 0 ? 0 : f.bytes[at] === 0x10 ? at : find((f.bytes[at + 1] ?? 0) & 0xfc);
    return find((f.bytes[0x34] ?? 0) & 0xfc);
  }

  acsAt(f: NaiveFunction): number {
    const find = (at: number): number => {
      if (at < 0x100 || u32(f, at) === 0) return 0;
      return u16(f, at) === 0x0d ? at : find(Math.floor(u32(f, at) / 0x100000) & 0xffc);
    };
    return this.capability(f) === 0 ? 0 : find(0x100);
  }

  /** undefined = not PCIe */
  type(f: NaiveFunction): number | undefined {
    const at = this.capability(f);
    if (at === 0) return undefined;
    const claimed = (u16(f, at + 2) >> 4) & 15;
    const parent = this.above(f);
    if (parent === undefined || ((f.bytes[0x0e] ?? 0) & 0x7f) === 0) return claimed;
    const over = this.type(parent);
    if (claimed === 6 && (over === 4 || over === 6 || over === 8)) return 5;
    if (claimed === 5 && over === 5) return 6;
    return claimed;
  }

  multi(f: NaiveFunction): boolean {
    if (f.pf !== undefined) return false;
    return f.df % 8 !== 0 || ((f.bytes[0x0e] ?? 0) & 0x80) !== 0;
  }

  // --- section 2 and 3: is it isolated for SV RR CR UF?

  isolated(f: NaiveFunction): boolean {
    const rows = DATA.acs.filter(
      (r) => r.ids.includes(idText(f)) || r.ids.includes(`${hex4(f.vendor)}:*`),
    );
    for (const row of rows) {
      const answer = this.row(row.rule, f);
      if (answer !== "next") return answer === "yes";
    }
    const type = this.type(f);
    if (type === undefined || type === 7 || type === 8 || type === 10) return false;
    if (type === 4 || type === 6) return this.registers(f);
    if (type === 0 || type === 1 || type === 5 || type === 9) {
      return this.multi(f) ? this.registers(f) : true;
    }
    return true;
  }

  row(rule: string, f: NaiveFunction): "yes" | "no" | "next" {
    const type = this.type(f);
    const d = f.device;
    switch (rule) {
      case "amdSouthbridge":
        return this.multi(f) && this.above(f) === undefined && f.pf === undefined && this.host.ivrs
          ? "yes"
          : "next";
      case "intelRciep":
        return type === 9 ? "yes" : "next";
      case "annapurnaRootPort":
        return type === 4 ? "yes" : "next";
      case "caviumRootPort":
        return type === 4 && ((d >= 0xa000 && d <= 0xa7ff) || d === 0xaf84 || d === 0xb884)
          ? "yes"
          : "next";
      case "intelPchRootPort": {
        if (type !== 4 || !DATA.pchRootPorts.some((p) => p.ids.includes(hex4(d)))) return "next";
        const lpc = this.all.find((o) => o.seg === f.seg && o.bus === f.bus && o.df === 0xf8);
        return lpc !== undefined && (u32(lpc, 0xf0) & 1) === 0 ? "no" : "yes";
      }
      case "intelSptRootPort": {
        if (type !== 4 || !DATA.sptRootPorts.some((r) => between(d, r))) return "next";
        const at = this.acsAt(f);
        if (at === 0) return "next";
        const wanted = 0x1d & (u32(f, at + 4) | 0x20);
        return (wanted & u32(f, at + 8)) === wanted ? "yes" : "no";
      }
      case "zhaoxinPort":
        if (type !== 4 && type !== 6) return "next";
        return ["0710-071e", "0721", "0723-0752"].some((r) => between(d, r)) ? "yes" : "no";
      case "wangxunNic": {
        const known = ["0100-010f", "1001", "2001", "5010", "5025", "5040", "5110", "5125", "5140"];
        return known.some((r) => between(d, r)) ? "yes" : "no";
      }
      default:
        return "yes";
    }
  }

  registers(f: NaiveFunction): boolean {
    const at = this.acsAt(f);
    if (at === 0) return false;
    const { ids, series } = DATA.hideSourceValidation;
    const hide = ids.includes(idText(f)) && series.includes(this.host.series);
    const wanted = 0x1d & (u16(f, at + 4) & ~(hide ? 1 : 0));
    return (u16(f, at + 6) & wanted) === wanted;
  }

  // --- section 5: aliases

  aliasRule(f: NaiveFunction): Json["aliases"][number][] {
    return DATA.aliases.filter((r) => {
      if (!r.ids.includes(idText(f))) return false;
      if (r.series !== undefined && !r.series.includes(this.host.series)) return false;
      if (r.sub === undefined) return true;
      return r.sub === `${hex4(u16(f, 0x2c))}:${hex4(u16(f, 0x2e))}`;
    });
  }

  holds(f: NaiveFunction, df: number): boolean {
    if (this.host.ivrsAlias(f) === df) return true;
    return this.aliasRule(f).some((r) => {
      if (r.rule === "aliasAll256") return true;
      if (r.rule === "aliasFunction0") return df === (f.df & 0xf8);
      if (r.rule === "aliasFunction1") return df === (f.df & 0xf8) + 1;
      if (r.rule === "aliasEverySlotFunctions0To4") return df % 8 <= 4;
      const [slot, fn] = [Math.floor(df / 8), df % 8];
      return (r.devfns ?? []).includes(`${slot.toString(16).padStart(2, "0")}.${fn}`);
    });
  }

  realDevice(f: NaiveFunction): NaiveFunction | "no driver" {
    if (f.seg < 0x10000) return f;
    const named = DATA.aliases.filter((r) => r.rule === "realDmaDevice");
    // Text captures pair domains and VMDs in order of address.
    const vmd = this.all
      .filter((o) => o.seg < 0x10000 && named.some((r) => r.ids.includes(idText(o))))
      .sort((a, b) => a.seg - b.seg || a.bus - b.bus || a.df - b.df)[0];
    if (vmd === undefined) return f;
    return this.aliasRule(vmd).some((r) => r.rule === "realDmaDevice") ? vmd : "no driver";
  }

  // --- section 6

  groupFor(s: NaiveFunction): number | undefined {
    if (this.group.has(s)) return this.group.get(s);
    let last = s;
    for (const b of this.allAbove(s)) {
      const rules = this.aliasRule(b).map((r) => r.rule);
      if (rules.includes("translationRootBridge")) break;
      const type = this.type(b);
      const alias =
        type === undefined || type === 8 || (type === 7 && !rules.includes("bridgeAddsNoAlias"));
      if (!alias) continue;
      last = b;
      if (this.group.has(b)) return this.group.get(b);
    }
    for (const b of this.allAbove(last)) {
      if ([b, ...this.allAbove(b)].every((x) => this.isolated(x))) break;
      last = b;
      if (this.group.has(b)) return this.group.get(b);
    }
    const seen: number[] = [];
    return this.search(last, seen) ?? this.siblings(last, seen);
  }

  sameBus(f: NaiveFunction): NaiveFunction[] {
    const others = this.all.filter((o) => o !== f && o.seg === f.seg && o.bus === f.bus);
    return others.sort(
      (a, b) => Number(a.pf !== undefined) - Number(b.pf !== undefined) || a.df - b.df,
    );
  }

  search(f: NaiveFunction, seen: number[]): number | undefined {
    if (seen.includes(f.df)) return undefined;
    seen.push(f.df);
    if (this.group.has(f)) return this.group.get(f);
    for (const n of this.sameBus(f)) {
      if (!this.holds(f, n.df) && !this.holds(n, f.df)) continue;
      const found = this.search(n, seen) ?? this.siblings(n, seen);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  siblings(f: NaiveFunction, seen: number[]): number | undefined {
    if (!this.multi(f) || this.isolated(f)) return undefined;
    for (const n of this.sameBus(f)) {
      if (n.df >> 3 !== f.df >> 3 || this.isolated(n)) continue;
      const found = this.search(n, seen);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
