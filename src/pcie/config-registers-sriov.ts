/** Access rules of SR-IOV (PCIe 6 § 9.3.3) and of resizable BARs (§ 7.8.6). */
import { readResizableBars, resizableSizes } from "./capability/resizable-bar.js";
import { barRules } from "./config-registers-header.js";
import type { RegisterContext, RegisterRule } from "./config-registers-rule.js";

const VF_ENABLE = 1;

/** Rules of a PF's SR-IOV capability at `at`. */
export function srIovRules(context: RegisterContext, at: number): RegisterRule[] {
  const { config } = context;
  const capability = config.u32(at + 4);
  let control = 0x0009;
  if (capability & 1) control |= 0x0006;
  // ARI Capable Hierarchy is implemented by the lowest-numbered PF; elsewhere it is hard-wired.
  if (capability & 2 || config.u16(at + 8) & 0x10) control |= 0x0010;
  if (capability & 4) control |= 0x0020;
  const total = config.u16(at + 0x0e);
  const pages = config.u32(at + 0x1c);
  return [
    {
      offset: at + 0x08,
      width: 2,
      rw: control,
      effect: (old, next) => {
        if (((old ^ next) & VF_ENABLE) === 0) return undefined;
        return next & VF_ENABLE ? "vf-enable" : "vf-disable";
      },
    },
    { offset: at + 0x0a, width: 2, w1c: 1 },
    {
      // NumVFs: fixed while VFs are on, never above TotalVFs (§ 9.3.3.7).
      offset: at + 0x10,
      width: 2,
      rw: 0xffff,
      settle: (old, next, registers) =>
        registers.read(at + 8, 2) & VF_ENABLE || next > total ? old : next,
    },
    {
      // System page size: one of the supported sizes, fixed while VFs are on (§ 9.3.3.13).
      offset: at + 0x20,
      width: 4,
      rw: pages,
      initial: 1,
      settle: (old, next, registers) => {
        const one = next !== 0 && (next & (next - 1)) === 0;
        return registers.read(at + 8, 2) & VF_ENABLE || !one ? old : next;
      },
    },
    ...barRules(context, at + 0x24, 6, context.vfBarSizes),
  ];
}

/**
 * BAR size field: only supported sizes are taken. A new size moves the hard-wired bits of the BAR,
 * which
 * `resize` does.
 */
export function resizableBarRules(
  context: RegisterContext,
  at: number,
  resize: (index: number, size: bigint) => void,
): RegisterRule[] {
  return readResizableBars(context.config, at).map((bar) => {
    const capability = context.config.u32(bar.offset);
    return {
      offset: bar.offset + 4,
      width: 4,
      rw: 0x3f00,
      // The size is kept by every reset but loss of power.
      sticky: 0x3f00,
      settle: (old, next) => {
        const size = 1n << (BigInt((next >>> 8) & 0x3f) + 20n);
        if (!resizableSizes(capability, next).includes(size)) return old;
        if (((old ^ next) & 0x3f00) !== 0) resize(bar.index, size);
        return next;
      },
    };
  });
}
