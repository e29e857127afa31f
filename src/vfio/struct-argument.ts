/**
 * Structs of VFIO calls, which begin with the size that the caller gives them. Order of checks as
 * in Linux: the bytes (EFAULT), then the size (EINVAL).
 */
import { UapiError } from "../abi/index.js";
import type { Call } from "../files/index.js";

/** Exactly `bytes` bytes. @throws UapiError EFAULT. */
export function copyStruct(call: Call, address: bigint, bytes: number): DataView {
  const out = new Uint8Array(bytes);
  call.copyIn(address, out);
  return new DataView(out.buffer);
}

/**
 * The first `bytes` bytes of a struct that is at least so long.
 * @throws UapiError EFAULT; EINVAL argsz is smaller.
 */
export function takeStruct(call: Call, address: bigint, bytes: number, cite: string): DataView {
  const view = copyStruct(call, address, bytes);
  checkSize(argszOf(view), bytes, cite);
  return view;
}

/**
 * A struct of `bytes` bytes that may be given shorter or longer: what is missing is zero, what is
 * more must be.
 * @throws UapiError EFAULT; EINVAL shorter than `least`; E2BIG.
 */
export function takeExtensible(
  call: Call,
  address: bigint,
  least: number,
  bytes: number,
  cite: string,
): DataView {
  const argsz = argszOf(copyStruct(call, address, 4));
  checkSize(argsz, least, cite);
  const view = new DataView(new ArrayBuffer(bytes));
  for (let at = bytes; at < argsz; at += 4096) {
    const rest = new Uint8Array(Math.min(4096, argsz - at));
    call.copyIn(address + BigInt(at), rest);
    if (rest.some((byte) => byte !== 0)) {
      throw new UapiError("E2BIG", "bytes beyond the known struct are not zero", { cite });
    }
  }
  call.copyIn(address, new Uint8Array(view.buffer, 0, Math.min(bytes, argsz)));
  return view;
}

export function argszOf(view: DataView): number {
  return view.getUint32(0, true);
}

export function checkSize(argsz: number, least: number, cite: string): void {
  if (argsz < least) throw new UapiError("EINVAL", `argsz is below ${least}`, { cite });
}

/** @throws UapiError EFAULT. */
export function putStruct(call: Call, address: bigint, view: DataView, bytes?: number): void {
  call.copyOut(address, new Uint8Array(view.buffer, view.byteOffset, bytes ?? view.byteLength));
}

/** One capability of a chain: an id, a version, and what follows the 8 bytes of its header. */
export interface InfoCapability {
  readonly id: number;
  readonly version: number;
  /** A multiple of 8 less 8 bytes, or anything that is padded to that. */
  readonly body: Uint8Array;
}

const CAP_HEADER = 8;

/** The chain as it follows a struct of `base` bytes. */
export function capabilityChain(caps: readonly InfoCapability[], base: number): Uint8Array {
  const sizes = caps.map((cap) => roundUp8(CAP_HEADER + cap.body.length));
  const out = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  caps.forEach((cap, i) => {
    const end = at + (sizes[i] ?? 0);
    view.setUint16(at, cap.id, true);
    view.setUint16(at + 2, cap.version, true);
    view.setUint32(at + 4, i + 1 < caps.length ? base + end : 0, true);
    out.set(cap.body, at + CAP_HEADER);
    at = end;
  });
  return out;
}

function roundUp8(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}
