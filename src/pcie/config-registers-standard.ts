/**
 * Access rules of standard capabilities: power management, MSI, MSI-X. PCIe 6 § 7.5.2, § 7.7.1,
 * § 7.7.2.
 */
import type { RegisterContext, RegisterRule } from "./config-registers-rule.js";

/** PMCSR: a state that is not implemented is not entered (§ 7.5.2.2). */
export function powerRules(context: RegisterContext, at: number): RegisterRule[] {
  const capability = context.config.u16(at + 2);
  const states = [true, (capability & 0x200) !== 0, (capability & 0x400) !== 0, true];
  // PME support in any state; without it the PME bits are hard-wired.
  const pme = capability & 0xf800 ? 0x0100 : 0;
  const status = capability & 0xf800 ? 0x8000 : 0;
  const fromCold = capability & 0x8000 ? 0x8100 : 0;
  return [
    {
      offset: at + 4,
      width: 2,
      rw: 0x0003 | pme,
      w1c: status,
      sticky: fromCold,
      settle: (old, next) => (states[next & 3] === true ? next : (next & ~3) | (old & 3)),
      effect: (old, next) => {
        if (states[next & 3] !== true || (old & 3) === (next & 3)) return undefined;
        const wakes = (old & 3) === 3 && (next & 3) === 0;
        return wakes && (next & 8) === 0 ? "power-reset" : "power-state";
      },
    },
  ];
}

/** Enable, vectors allotted (never more than it can send), address, data, and masks per vector. */
export function msiRules(context: RegisterContext, at: number): RegisterRule[] {
  const control = context.config.u16(at + 2);
  const capable = (control >>> 1) & 7;
  const wide = (control & 0x80) !== 0;
  const data = at + (wide ? 0x0c : 0x08);
  const extended = (control & 0x200) !== 0;
  const rules: RegisterRule[] = [
    {
      offset: at + 2,
      width: 2,
      rw: 0x0071 | (extended ? 0x0400 : 0),
      settle: (_old, next) => {
        const wanted = Math.min((next >>> 4) & 7, capable);
        return (next & ~0x70) | (wanted << 4);
      },
    },
    { offset: at + 4, width: 4, rw: 0xffff_fffc },
    { offset: data, width: 2, rw: 0xffff },
  ];
  if (wide) rules.push({ offset: at + 8, width: 4, rw: 0xffff_ffff });
  if (extended) rules.push({ offset: data + 2, width: 2, rw: 0xffff });
  if (control & 0x100) {
    const vectors = 1 << capable;
    const mask = vectors >= 32 ? 0xffff_ffff : (1 << vectors) - 1;
    rules.push({ offset: data + 4, width: 4, rw: mask });
  }
  return rules;
}

/** Function-level reset of conventional functions (Advanced Features ECN); the bit reads zero. */
export function advancedFeaturesRules(context: RegisterContext, at: number): RegisterRule[] {
  const FLR = 2;
  if ((context.config.u8(at + 3) & FLR) === 0) return [];
  return [
    {
      offset: at + 4,
      width: 1,
      rw: 1,
      settle: (_old, next) => next & ~1,
      effect: (_old, next) => ((next & 1) !== 0 ? "function-level-reset" : undefined),
    },
  ];
}

/** Enable and Function Mask; the table itself is in memory. */
export function msiXRules(at: number): RegisterRule[] {
  return [{ offset: at + 2, width: 2, rw: 0xc000 }];
}
