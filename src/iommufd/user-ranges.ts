/** An array of address ranges in the caller's memory. */
import { isRefusal, SIZEOF_IOMMU_IOVA_RANGE, UapiError } from "../abi/index.js";
import type { UserMemory } from "../files/index.js";
import type { Span } from "../units/index.js";
import { checkAllowed } from "./ioas-calls.js";

const CHUNK = 256;

/**
 * Reads `count` ranges {start, last}.
 * @throws UapiError EINVAL (start not below last, overlap) for ranges before one that cannot be
 * read, else EFAULT for that one.
 */
export function readRanges(memory: UserMemory, address: bigint, count: number): Span[] {
  const out: Span[] = [];
  try {
    while (out.length < count) readChunk(memory, address, count, out);
  } catch (error) {
    if (isRefusal(error, "EFAULT")) checkAllowed(out);
    throw error;
  }
  return out;
}

/** The next ranges; one by one where they cannot be read together. */
function readChunk(memory: UserMemory, address: bigint, count: number, out: Span[]): void {
  const wanted = Math.min(CHUNK, count - out.length);
  const at = address + BigInt(out.length * SIZEOF_IOMMU_IOVA_RANGE);
  const bytes = new Uint8Array(wanted * SIZEOF_IOMMU_IOVA_RANGE);
  try {
    memory.copyIn(at, bytes);
    take(bytes, wanted, out);
  } catch (error) {
    if (wanted === 1 || !isRefusal(error, "EFAULT")) throw error;
    const one = bytes.subarray(0, SIZEOF_IOMMU_IOVA_RANGE);
    memory.copyIn(at, one);
    take(one, 1, out);
  }
}

function take(bytes: Uint8Array, count: number, out: Span[]): void {
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const first = view.getBigUint64(i * SIZEOF_IOMMU_IOVA_RANGE, true);
    const last = view.getBigUint64(i * SIZEOF_IOMMU_IOVA_RANGE + 8, true);
    if (first >= last) {
      throw new UapiError("EINVAL", "start is not below last", {
        cite: "Linux iommufd_ioas_allow_iovas()",
      });
    }
    out.push({ first, last });
  }
}
