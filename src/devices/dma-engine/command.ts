/**
 * A command as it runs: what to do, how far it got. Descriptors chain commands (32 bytes each):
 * next (64 bits, 0 ends), opcode, length, source, destination.
 */
import { type DESCRIPTOR_BYTES, Opcode } from "./registers.js";

export interface Command {
  opcode: number;
  source: bigint;
  destination: bigint;
  length: number;
  /** Bytes of this command that are done. */
  done: number;
}

/** How an access or a step of a command ended. */
export type Step =
  | { readonly kind: "done"; readonly data?: Uint8Array | undefined }
  /** A page was requested and nobody answered yet. */
  | { readonly kind: "waits" }
  | { readonly kind: "error"; readonly code: number; readonly address: bigint };

export const DONE: Step = { kind: "done" };
export const WAITS: Step = { kind: "waits" };

export interface Descriptor {
  readonly next: bigint;
  readonly command: Command;
}

/** `bytes` is {@link DESCRIPTOR_BYTES} long. */
export function readDescriptor(bytes: Uint8Array): Descriptor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    next: view.getBigUint64(0, true),
    command: {
      opcode: view.getUint32(8, true),
      length: view.getUint32(12, true),
      source: view.getBigUint64(16, true),
      destination: view.getBigUint64(24, true),
      done: 0,
    },
  };
}

/** The bytes of a descriptor, for software that writes chains. */
export function writeDescriptor(
  next: bigint,
  command: Pick<Command, "opcode" | "length" | "source" | "destination">,
): Uint8Array {
  const bytes: Uint8Array & { readonly length: number } = new Uint8Array(
    32 satisfies typeof DESCRIPTOR_BYTES,
  );
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, next, true);
  view.setUint32(8, command.opcode, true);
  view.setUint32(12, command.length, true);
  view.setBigUint64(16, command.source, true);
  view.setBigUint64(24, command.destination, true);
  return bytes;
}

/** Opcodes that a descriptor may hold: chains do not nest. */
export function mayStandInChain(opcode: number): boolean {
  return opcode <= Opcode.FetchAdd && opcode !== Opcode.Chase;
}
