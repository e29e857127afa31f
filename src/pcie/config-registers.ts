/**
 * ConfigRegisters: the configuration space of a function as software meets it.
 *
 * A ConfigSpace is what was seen; this class answers reads and takes writes as the hardware would.
 * Every bit is read-only, read-write or write-1-to-clear, by rules derived from header type and
 * capabilities (config-registers-*.ts). Address bits below a BAR's size are hard-wired, which makes
 * sizing work by itself.
 *
 * Invariants: bits without a rule never change; capabilities without rules are read-only; a write
 * reports what it set off ({@link ConfigEffect}), and a function-level reset has already happened
 * when it does. What the specification leaves undefined is not accepted: the old value stays.
 */
import type { BarHint } from "./bar.js";
import { listCapabilityEntries } from "./capability/entries.js";
import { CapabilityId, ExtendedCapabilityId } from "./capability/list.js";
import { expressRules } from "./config-registers-express.js";
import {
  acsRules,
  aerRules,
  ariRules,
  atsRules,
  pasidRules,
  priRules,
} from "./config-registers-extended.js";
import { headerRules } from "./config-registers-header.js";
import {
  CompiledRules,
  type ConfigEffect,
  type RegisterBytes,
  type RegisterContext,
  type RegisterRule,
} from "./config-registers-rule.js";
import { resizableBarRules, srIovRules } from "./config-registers-sriov.js";
import {
  advancedFeaturesRules,
  msiRules,
  msiXRules,
  powerRules,
} from "./config-registers-standard.js";
import type { ConfigSpace } from "./config-space.js";
import type { PciFunction } from "./function.js";

export type AccessLength = 1 | 2 | 4;

/** What configuration bytes do not say. */
export interface RegisterOptions {
  /** Sizes of the function's own BARs (index 6: expansion ROM). Powers of two. */
  readonly bars?: readonly BarHint[] | undefined;
  /** Sizes of one VF's BARs. */
  readonly vfBars?: readonly BarHint[] | undefined;
  /** The function is a VF. */
  readonly virtual?: boolean | undefined;
}

/**
 * `function-level`: § 6.6.2. `conventional`: hot or secondary bus reset. `power`: sticky bits go
 * too.
 */
export type ResetKind = "function-level" | "conventional" | "power";

const NO_EFFECT: readonly ConfigEffect[] = [];

/** Readable and writable configuration space of one function; see the head of this file. */
export class ConfigRegisters implements RegisterBytes {
  /** BARs whose size nobody told: they stay read-only. */
  readonly unsized: readonly number[];
  readonly #bytes: Uint8Array;
  readonly #source: ConfigSpace;
  readonly #rules: CompiledRules;

  /** @throws RangeError when a BAR size is not a power of two. */
  constructor(config: ConfigSpace, options: RegisterOptions = {}) {
    this.#source = config;
    this.#bytes = new Uint8Array(config.extent);
    this.#bytes.set(config.bytes.subarray(0, config.extent));
    const context = contextOf(config, options);
    this.unsized = unsizedBars(context);
    const resize = (index: number, size: bigint) => this.#resize(index, size);
    this.#rules = new CompiledRules(rulesOf(context, resize), config.extent);
  }

  /** Registers of a function as captured or described. */
  static of(fn: PciFunction): ConfigRegisters {
    const { bars, vfBars } = fn.description;
    return new ConfigRegisters(fn.config, { bars, vfBars, virtual: fn.isVirtual });
  }

  /** Little-endian; zero beyond the extent. @throws RangeError for an offset outside 4 KiB. */
  read(offset: number, length: AccessLength): number {
    checkAccess(offset, length);
    let value = 0;
    for (let i = length - 1; i >= 0; i--) value = value * 256 + (this.#bytes[offset + i] ?? 0);
    return value;
  }

  /**
   * Any alignment. Bits of `value` above `length` bytes are ignored; bytes beyond the extent are
   * dropped.
   * @throws RangeError for an offset outside 4 KiB.
   */
  write(offset: number, length: AccessLength, value: number): readonly ConfigEffect[] {
    checkAccess(offset, length);
    const hooks = this.#rules.hooksAt(offset, length);
    const before = hooks.map((rule) => this.read(rule.offset, rule.width));
    for (let i = 0; i < length; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    if (hooks.length === 0) return NO_EFFECT;
    const effects: ConfigEffect[] = [];
    hooks.forEach((rule, i) => {
      const old = before[i] as number;
      const next = this.read(rule.offset, rule.width);
      const stored = rule.settle?.(old, next, this) ?? next;
      if (stored !== next) this.poke(rule.offset, rule.width, stored);
      const effect = rule.effect?.(old, next, this);
      if (effect !== undefined) effects.push(effect);
    });
    if (effects.includes("function-level-reset")) this.reset("function-level");
    // D3hot to D0 without No_Soft_Reset loses the configuration (§ 7.5.2.2).
    if (effects.includes("power-reset")) this.reset("conventional");
    return effects;
  }

  poke(offset: number, length: AccessLength, value: number): void {
    for (let i = 0; i < length; i++) {
      if (offset + i < this.#bytes.length) this.#bytes[offset + i] = (value >>> (8 * i)) & 0xff;
    }
  }

  /** Bits that software may change with a write of ones; 0 where everything is read-only. */
  writableMask(offset: number, length: AccessLength): number {
    checkAccess(offset, length);
    let mask = 0;
    for (let i = length - 1; i >= 0; i--) mask = mask * 256 + (this.#rules.rw[offset + i] ?? 0);
    return mask;
  }

  /** Writable bits return to their initial values; read-only bits, known or hard-wired, stay. */
  reset(kind: ResetKind): void {
    const { rw, w1c, sticky, keptByFlr, initial } = this.#rules;
    for (let at = 0; at < this.#bytes.length; at++) {
      let keep = ~((rw[at] ?? 0) | (w1c[at] ?? 0));
      if (kind !== "power") keep |= sticky[at] ?? 0;
      if (kind === "function-level") keep |= keptByFlr[at] ?? 0;
      const old = this.#bytes[at] ?? 0;
      this.#bytes[at] = (old & keep) | ((initial[at] ?? 0) & ~keep);
    }
    this.#stopPageRequests();
  }

  /** The present state as a ConfigSpace of its own, trailing zeros trimmed. */
  snapshot(): ConfigSpace {
    let used = this.#bytes.length;
    while (used > 0 && this.#bytes[used - 1] === 0) used--;
    return this.#source.withBytes(this.#bytes.slice(0, used));
  }

  #writeByte(at: number, value: number): void {
    if (at >= this.#bytes.length) return;
    const rw = this.#rules.rw[at] ?? 0;
    const clear = (this.#rules.w1c[at] ?? 0) & value;
    const old = this.#bytes[at] ?? 0;
    this.#bytes[at] = (old & ~rw & ~clear) | (value & rw);
  }

  /**
   * With the page request interface off after a reset nothing is outstanding: Stopped reads one.
   */
  #stopPageRequests(): void {
    const pri = listCapabilityEntries(this.#source).find(
      (e) => e.extended && e.id === ExtendedCapabilityId.Pri,
    );
    if (pri !== undefined) this.poke(pri.offset + 6, 2, this.read(pri.offset + 6, 2) | 0x0100);
  }

  /** A resized BAR keeps the address bits that are still above its size. */
  #resize(index: number, size: bigint): void {
    const at = 0x10 + 4 * index;
    if (index > 5 || at + 8 > this.#bytes.length) return;
    const low = this.read(at, 4);
    const wide = (low & 7) === 4;
    const mask = ~(size - 1n);
    this.#setMask(at, Number(BigInt.asUintN(32, mask & ~0xfn)));
    this.poke(at, 4, (low & (Number(BigInt.asUintN(32, mask)) | 0xf)) >>> 0);
    if (!wide) return;
    const high = Number(BigInt.asUintN(32, mask >> 32n));
    this.#setMask(at + 4, high);
    this.poke(at + 4, 4, (this.read(at + 4, 4) & high) >>> 0);
  }

  #setMask(at: number, mask: number): void {
    for (let i = 0; i < 4; i++) this.#rules.rw[at + i] = (mask >>> (8 * i)) & 0xff;
  }
}

function checkAccess(offset: number, length: number): void {
  if (!Number.isInteger(offset) || offset < 0 || offset + length > 4096) {
    throw new RangeError(`configuration access at ${offset}, ${length} bytes, is not inside 4 KiB`);
  }
}

function contextOf(config: ConfigSpace, options: RegisterOptions): RegisterContext {
  const express = listCapabilityEntries(config).find(
    (e) => !e.extended && e.id === CapabilityId.PciExpress,
  );
  return {
    config,
    virtual: options.virtual === true,
    portType: express === undefined ? undefined : (config.u16(express.offset + 2) >>> 4) & 0xf,
    headerType: config.u8(0x0e) & 0x7f,
    barSizes: sizesOf(options.bars),
    vfBarSizes: sizesOf(options.vfBars),
  };
}

function sizesOf(hints: readonly BarHint[] | undefined): ReadonlyMap<number, bigint> {
  const sizes = new Map<number, bigint>();
  for (const { index, size } of hints ?? []) {
    if (size === undefined) continue;
    if (size <= 0n || (size & (size - 1n)) !== 0n) {
      throw new RangeError(`BAR ${index}: size ${size} is not a power of two`);
    }
    sizes.set(index, size);
  }
  return sizes;
}

function unsizedBars(context: RegisterContext): number[] {
  const { config, headerType, barSizes } = context;
  const count = context.virtual ? 0 : headerType === 0 ? 6 : headerType === 1 ? 2 : 0;
  const out: number[] = [];
  for (let index = 0; index < count; index++) {
    const low = config.u32(0x10 + 4 * index);
    if (low !== 0 && !barSizes.has(index)) out.push(index);
    if ((low & 7) === 4) index++;
  }
  return out;
}

function rulesOf(
  context: RegisterContext,
  resize: (index: number, size: bigint) => void,
): RegisterRule[] {
  const rules = headerRules(context);
  for (const { id, offset, extended } of listCapabilityEntries(context.config)) {
    if (extended) rules.push(...extendedRules(context, id, offset, resize));
    else rules.push(...standardRules(context, id, offset));
  }
  return rules;
}

function standardRules(context: RegisterContext, id: number, at: number): RegisterRule[] {
  switch (id) {
    case CapabilityId.PowerManagement:
      return powerRules(context, at);
    case CapabilityId.Msi:
      return msiRules(context, at);
    case CapabilityId.MsiX:
      return msiXRules(at);
    case CapabilityId.AdvancedFeatures:
      return advancedFeaturesRules(context, at);
    case CapabilityId.PciExpress:
      return expressRules(context, at);
    default:
      return [];
  }
}

function extendedRules(
  context: RegisterContext,
  id: number,
  at: number,
  resize: (index: number, size: bigint) => void,
): RegisterRule[] {
  switch (id) {
    case ExtendedCapabilityId.Aer:
      return aerRules(context, at);
    case ExtendedCapabilityId.Acs:
      return acsRules(context, at);
    case ExtendedCapabilityId.Ari:
      return ariRules(context, at);
    case ExtendedCapabilityId.Ats:
      return atsRules(context, at);
    case ExtendedCapabilityId.SrIov:
      return context.virtual ? [] : srIovRules(context, at);
    case ExtendedCapabilityId.Pri:
      return priRules(context, at);
    case ExtendedCapabilityId.ResizableBar:
      return resizableBarRules(context, at, resize);
    case ExtendedCapabilityId.Pasid:
      return pasidRules(context, at);
    default:
      return [];
  }
}
