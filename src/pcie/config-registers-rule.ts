/**
 * Access rules of configuration registers, and the byte masks they compile to.
 *
 * A bit that no rule names is read-only. PCIe 6 § 7.4 has the attributes: RO, RW, RW1C and their
 * sticky forms.
 */
import type { ConfigSpace } from "./config-space.js";

/** What a write set off besides changing bits. */
export type ConfigEffect =
  | "function-level-reset"
  | "power-reset"
  | "secondary-bus-reset"
  | "retrain-link"
  | "vf-enable"
  | "vf-disable"
  | "power-state"
  | "page-request-reset";

/** Sees a whole register after masks were applied, and may still change it. */
export interface RegisterHook {
  /** Returns the value that is stored. */
  settle?(old: number, next: number, registers: RegisterBytes): number;
  effect?(old: number, next: number, registers: RegisterBytes): ConfigEffect | undefined;
}

export interface RegisterBytes {
  read(offset: number, length: 1 | 2 | 4): number;
  /** Stores without masks: for side effects of one register on another. */
  poke(offset: number, length: 1 | 2 | 4, value: number): void;
}

export interface RegisterRule extends RegisterHook {
  readonly offset: number;
  readonly width: 1 | 2 | 4;
  readonly rw?: number | undefined;
  /** Write 1 to clear. */
  readonly w1c?: number | undefined;
  /** Bits that no reset short of power loss changes. */
  readonly sticky?: number | undefined;
  /** Bits that a function-level reset keeps (§ 6.6.2), besides the sticky ones. */
  readonly keptByFlr?: number | undefined;
  /** Value of the writable bits after a reset; 0 when absent. */
  readonly initial?: number | undefined;
}

/** What register rules are derived from. */
export interface RegisterContext {
  readonly config: ConfigSpace;
  /** Virtual function: most of its header belongs to the PF (§ 9.3.4). */
  readonly virtual: boolean;
  /** PCI Express port type; undefined for conventional PCI. */
  readonly portType: number | undefined;
  /** Header layout 0, 1 or 2. */
  readonly headerType: number;
  /** Size in bytes by BAR index (6: expansion ROM); of one VF for VF BARs. */
  readonly barSizes: ReadonlyMap<number, bigint>;
  readonly vfBarSizes: ReadonlyMap<number, bigint>;
}

/** Masks by byte offset, and the hooks by dword. */
export class CompiledRules {
  readonly rw: Uint8Array;
  readonly w1c: Uint8Array;
  readonly sticky: Uint8Array;
  readonly keptByFlr: Uint8Array;
  readonly initial: Uint8Array;
  readonly #hooks = new Map<number, RegisterRule[]>();

  constructor(rules: readonly RegisterRule[], length: number) {
    this.rw = new Uint8Array(length);
    this.w1c = new Uint8Array(length);
    this.sticky = new Uint8Array(length);
    this.keptByFlr = new Uint8Array(length);
    this.initial = new Uint8Array(length);
    for (const rule of rules) {
      if (rule.offset + rule.width > length) continue;
      merge(this.rw, rule, rule.rw);
      merge(this.w1c, rule, rule.w1c);
      merge(this.sticky, rule, rule.sticky);
      merge(this.keptByFlr, rule, rule.keptByFlr);
      merge(this.initial, rule, rule.initial);
      if (rule.settle === undefined && rule.effect === undefined) continue;
      const key = rule.offset >>> 2;
      const list = this.#hooks.get(key);
      if (list === undefined) this.#hooks.set(key, [rule]);
      else list.push(rule);
    }
  }

  /** Rules with a hook whose register overlaps the bytes. */
  hooksAt(offset: number, length: number): readonly RegisterRule[] {
    const first = this.#hooks.get(offset >>> 2);
    const second = this.#hooks.get((offset + length - 1) >>> 2);
    if (first === undefined && second === undefined) return NONE;
    const both = first === second ? (first ?? NONE) : [...(first ?? NONE), ...(second ?? NONE)];
    return both.filter((r) => r.offset < offset + length && offset < r.offset + r.width);
  }
}

const NONE: readonly RegisterRule[] = [];

function merge(into: Uint8Array, rule: RegisterRule, bits: number | undefined): void {
  if (bits === undefined) return;
  for (let i = 0; i < rule.width; i++) {
    const at = rule.offset + i;
    into[at] = (into[at] ?? 0) | ((bits >>> (8 * i)) & 0xff);
  }
}
