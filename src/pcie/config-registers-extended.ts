/**
 * Access rules of extended capabilities: ACS § 7.7.11, ARI § 7.8.8, ATS § 10.5.1, PRI § 10.5.2,
 * PASID § 7.8.9, AER § 7.8.4. Sections of PCIe 6.
 */
import { ACS_ENHANCED_CAPABLE, Acs } from "./capability/acs.js";
import { CORRECTABLE_MASK, UNCORRECTABLE_MASK } from "./capability/aer.js";
import { PortType } from "./capability/express.js";
import type { RegisterContext, RegisterRule } from "./config-registers-rule.js";

const ACS_BASIC = 0x7f;
/** I/O request blocking, DSP and USP memory target access, unclaimed request redirect. */
const ACS_ENHANCED = 0x1f80;

/**
 * Control bits exist exactly where the capability has them; a bit that is hard-wired on stays on.
 */
export function acsRules(context: RegisterContext, at: number): RegisterRule[] {
  const capability = context.config.u16(at + 4);
  let rw = capability & ACS_BASIC;
  if (capability & ACS_ENHANCED_CAPABLE) rw |= ACS_ENHANCED;
  const rules: RegisterRule[] = [{ offset: at + 6, width: 2, rw }];
  if ((capability & Acs.EC) === 0) return rules;
  const bits = capability >>> 8 || 256;
  for (let first = 0; first < bits; first += 32) {
    const mask = bits - first >= 32 ? 0xffff_ffff : 2 ** (bits - first) - 1;
    rules.push({ offset: at + 8 + first / 8, width: 4, rw: mask });
  }
  return rules;
}

/** Function group numbers where the capability has groups; § 7.8.8. */
export function ariRules(context: RegisterContext, at: number): RegisterRule[] {
  if (context.virtual) return [];
  const capability = context.config.u16(at + 4);
  return [{ offset: at + 6, width: 2, rw: (capability & 3) | (capability & 3 ? 0x70 : 0) }];
}

/** The smallest translation unit may change only while ATS is off; a VF's is hard-wired to zero. */
export function atsRules(context: RegisterContext, at: number): RegisterRule[] {
  const unit = context.virtual ? 0 : 0x001f;
  return [
    {
      offset: at + 6,
      width: 2,
      rw: 0x8000 | unit,
      settle: (old, next) => ((old & 0x8000) !== 0 ? (next & ~0x1f) | (old & 0x1f) : next),
    },
  ];
}

/**
 * Reset (bit 1) always reads zero; it acts only while Enable is off and clears the status. Stopped
 * (status bit 8) falls when the interface is switched on; no request is ever outstanding here, so
 * it rises at once when it is switched off.
 */
export function priRules(context: RegisterContext, at: number): RegisterRule[] {
  if (context.virtual) return [];
  const STOPPED = 0x0100;
  return [
    {
      offset: at + 4,
      width: 2,
      rw: 0x0003,
      settle: (old, next, registers) => {
        const status = registers.read(at + 6, 2);
        const on = (next & 1) !== 0;
        const reset = (next & 2) !== 0 && (old & 1) === 0 && !on;
        const cleared = reset ? status & ~0x0003 : status;
        registers.poke(at + 6, 2, on ? cleared & ~STOPPED : cleared | STOPPED);
        return next & ~2;
      },
      effect: (old, next) =>
        (next & 3) === 2 && (old & 1) === 0 ? "page-request-reset" : undefined,
    },
    { offset: at + 6, width: 2, w1c: 0x0003 },
    { offset: at + 0x0c, width: 4, rw: 0xffff_ffff },
  ];
}

/** Enable, and execute and privilege only where the capability has them. VFs use the PF's PASID. */
export function pasidRules(context: RegisterContext, at: number): RegisterRule[] {
  if (context.virtual) return [];
  const capability = context.config.u16(at + 4);
  return [{ offset: at + 6, width: 2, rw: 1 | (capability & 0x0006) }];
}

/** Status, mask and severity are sticky: they survive every reset but loss of power. */
export function aerRules(context: RegisterContext, at: number): RegisterRule[] {
  const bits = UNCORRECTABLE_MASK;
  const control = context.config.u32(at + 0x18);
  const enable =
    (control & 0x20 ? 0x40 : 0) | (control & 0x80 ? 0x100 : 0) | (control & 0x200 ? 0x400 : 0);
  const rules: RegisterRule[] = [
    { offset: at + 0x04, width: 4, w1c: bits, sticky: bits },
    { offset: at + 0x10, width: 4, w1c: CORRECTABLE_MASK, sticky: CORRECTABLE_MASK },
    { offset: at + 0x18, width: 4, rw: enable, sticky: enable },
  ];
  // In a VF the PF's mask and severity apply.
  if (!context.virtual) {
    rules.push({ offset: at + 0x08, width: 4, rw: bits, sticky: bits });
    rules.push({ offset: at + 0x0c, width: 4, rw: bits, sticky: bits });
    rules.push({ offset: at + 0x14, width: 4, rw: CORRECTABLE_MASK, sticky: CORRECTABLE_MASK });
  }
  const root =
    context.portType === PortType.RootPort || context.portType === PortType.RcEventCollector;
  if (root) {
    rules.push({ offset: at + 0x2c, width: 4, rw: 0x7 });
    rules.push({ offset: at + 0x30, width: 4, w1c: 0x7f, sticky: 0x7f });
  }
  return rules;
}
