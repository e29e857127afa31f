/** Access rules of the type 0 and type 1 headers: PCIe 6 § 7.5.1; of a VF: § 9.3.4.1. */
import { PortType } from "./capability/express.js";
import type { RegisterContext, RegisterRule } from "./config-registers-rule.js";

const STATUS_W1C = 0xf900;
const IO_SPACE = 1;
const MEMORY_SPACE = 2;

/** Rules of the first 64 bytes. */
export function headerRules(context: RegisterContext): RegisterRule[] {
  if (context.virtual) return virtualHeader();
  const rules = commonHeader(context);
  if (context.headerType === 0) {
    rules.push(...barRules(context, 0x10, 6, context.barSizes), ...romRules(context, 0x30));
  } else if (context.headerType === 1) {
    rules.push(...barRules(context, 0x10, 2, context.barSizes), ...romRules(context, 0x38));
    rules.push(...bridgeRules(context));
  }
  return rules;
}

/** Bus Master Enable is all a VF has of the command register; its BARs are hard-wired to zero. */
function virtualHeader(): RegisterRule[] {
  return [
    { offset: 0x04, width: 2, rw: 0x0004 },
    { offset: 0x06, width: 2, w1c: STATUS_W1C },
  ];
}

function commonHeader(context: RegisterContext): RegisterRule[] {
  const express = isExpressAbove(context);
  let command = 0x0544;
  if (context.headerType !== 0 || hasBar(context, true)) command |= IO_SPACE;
  if (context.headerType !== 0 || hasBar(context, false)) command |= MEMORY_SPACE;
  // Memory write and invalidate, VGA palette snoop: conventional only.
  if (!express) command |= context.headerType === 0 ? 0x0010 : 0x0030;
  const rules: RegisterRule[] = [
    { offset: 0x04, width: 2, rw: command },
    { offset: 0x06, width: 2, w1c: STATUS_W1C },
    { offset: 0x0c, width: 1, rw: 0xff },
    { offset: 0x3c, width: 1, rw: 0xff },
  ];
  if (!express) rules.push({ offset: 0x0d, width: 1, rw: 0xff });
  return rules;
}

function hasBar(context: RegisterContext, io: boolean): boolean {
  for (const index of context.barSizes.keys()) {
    if (index === 6) {
      if (!io) return true;
      continue;
    }
    if (((context.config.u8(0x10 + 4 * index) & 1) !== 0) === io) return true;
  }
  // Without sizes the bits that are on, or addresses that are set, show what is there.
  if (context.config.u8(0x04) & (io ? IO_SPACE : MEMORY_SPACE)) return true;
  for (let index = 0; index < 6; index++) {
    const low = context.config.u32(0x10 + 4 * index);
    if (low !== 0 && ((low & 1) !== 0) === io) return true;
  }
  return false;
}

/**
 * Address bits above the size are writable, all below it are hard-wired: writing ones and reading
 * back gives the size. A BAR of unknown size stays read-only, see `ConfigRegisters.unsized`.
 */
export function barRules(
  context: RegisterContext,
  first: number,
  count: number,
  sizes: ReadonlyMap<number, bigint>,
): RegisterRule[] {
  const rules: RegisterRule[] = [];
  for (const [index, size] of sizes) {
    if (index >= count) continue;
    const offset = first + 4 * index;
    const low = context.config.u32(offset);
    const mask = ~(size - 1n);
    const flags = (low & 1) !== 0 ? 3 : 0xf;
    const rw = (Number(BigInt.asUintN(32, mask)) & ~flags) >>> 0;
    rules.push({ offset, width: 4, rw });
    if ((low & 7) === 4 && index + 1 < count) {
      const high = Number(BigInt.asUintN(32, mask >> 32n));
      rules.push({ offset: offset + 4, width: 4, rw: high });
    }
  }
  return rules;
}

/** Expansion ROM: enable bit and address bits 31:11. */
function romRules(context: RegisterContext, offset: number): RegisterRule[] {
  const size = context.barSizes.get(6);
  if (size === undefined) return [];
  const address = Number(BigInt.asUintN(32, ~(size - 1n))) & 0xffff_f800;
  return [{ offset, width: 4, rw: (address | 1) >>> 0 }];
}

function bridgeRules(context: RegisterContext): RegisterRule[] {
  const { config } = context;
  const express = context.portType !== undefined && context.portType !== PortType.PcieToPciBridge;
  const rules: RegisterRule[] = [
    { offset: 0x18, width: 1, rw: 0xff },
    { offset: 0x19, width: 1, rw: 0xff },
    { offset: 0x1a, width: 1, rw: 0xff },
    { offset: 0x1e, width: 2, w1c: STATUS_W1C },
    { offset: 0x20, width: 2, rw: 0xfff0 },
    { offset: 0x22, width: 2, rw: 0xfff0 },
    { offset: 0x3e, width: 2, ...bridgeControl(express) },
  ];
  if (!express) rules.push({ offset: 0x1b, width: 1, rw: 0xff });
  if (hasWindow(context, 0x1c, 2, 0x30)) {
    rules.push({ offset: 0x1c, width: 1, rw: 0xf0 }, { offset: 0x1d, width: 1, rw: 0xf0 });
    if ((config.u8(0x1c) & 0xf) === 1) rules.push({ offset: 0x30, width: 4, rw: 0xffff_ffff });
  }
  if (hasWindow(context, 0x24, 4, 0x28)) {
    rules.push({ offset: 0x24, width: 2, rw: 0xfff0 }, { offset: 0x26, width: 2, rw: 0xfff0 });
    if ((config.u8(0x24) & 0xf) === 1) {
      rules.push({ offset: 0x28, width: 4, rw: 0xffff_ffff });
      rules.push({ offset: 0x2c, width: 4, rw: 0xffff_ffff });
    }
  }
  return rules;
}

/** The I/O and prefetchable windows are optional: base and limit hard-wired to zero mean absent. */
function hasWindow(context: RegisterContext, at: number, length: 2 | 4, upper: number): boolean {
  const { config } = context;
  const low = length === 2 ? config.u16(at) : config.u32(at);
  return low !== 0 || config.u32(upper) !== 0;
}

/** The primary side is a PCI Express link. */
function isExpressAbove(context: RegisterContext): boolean {
  return context.portType !== undefined && context.portType !== PortType.PciToPcieBridge;
}

/** `express`: the secondary side is a link. Bit 6 resets the bus below when it is set. */
function bridgeControl(express: boolean): Partial<RegisterRule> {
  return {
    rw: express ? 0x005f : 0x0bff,
    w1c: express ? 0 : 0x0400,
    effect: (old, next) => ((~old & next & 0x40) !== 0 ? "secondary-bus-reset" : undefined),
  };
}
