/** Resizable BARs of a function and, in the same layout, of VFs: PCIe 6 § 7.8.6, § 7.8.7. */
import type { ConfigSpace } from "../config-space.js";

export interface ResizableBar {
  /** Offset of the BAR's capability dword; its control dword follows. */
  readonly offset: number;
  readonly index: number;
  /** Sizes it can take, in bytes, ascending. */
  readonly sizes: readonly bigint[];
  readonly size: bigint;
}

const MIB = 20n;

/** At most 6 entries; fewer when the capture does not show them. */
export function readResizableBars(config: ConfigSpace, offset: number): ResizableBar[] {
  const first = config.knownU32(offset + 8);
  const count = Math.min(first === undefined ? 0 : (first >>> 5) & 7, 6);
  const out: ResizableBar[] = [];
  for (let i = 0; i < count; i++) {
    const at = offset + 4 + 8 * i;
    const capability = config.knownU32(at);
    const control = config.knownU32(at + 4);
    if (capability === undefined || control === undefined) break;
    out.push({
      offset: at,
      index: control & 7,
      sizes: resizableSizes(capability, control),
      size: 1n << (BigInt((control >>> 8) & 0x3f) + MIB),
    });
  }
  return out;
}

/** Capability bits 31:4 are 1 MiB to 128 TiB; control bits 31:16 are 256 TiB upward. */
export function resizableSizes(capability: number, control: number): bigint[] {
  const out: bigint[] = [];
  for (let bit = 4; bit < 32; bit++) {
    if ((capability >>> bit) & 1) out.push(1n << (BigInt(bit - 4) + MIB));
  }
  for (let bit = 16; bit < 32; bit++) {
    if ((control >>> bit) & 1) out.push(1n << (BigInt(bit + 12) + MIB));
  }
  return out;
}
