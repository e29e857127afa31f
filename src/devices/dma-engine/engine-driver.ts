/**
 * How software drives the engine: registers written through BAR 0, in the order of the data sheet.
 * Works on any way to reach the BAR: the engine itself, or memory writes of a CPU.
 */
import type { Pasid, Rid } from "../../units/index.js";
import {
  AddressMode,
  Control,
  DEFAULT_CHUNK,
  type ErrorCode,
  errorName,
  Flag,
  type Opcode,
  REQUESTER_OVERRIDE,
  Region,
  Register,
  Status,
  VECTOR_ENABLE,
} from "./registers.js";

/** Access to BAR 0 of an engine. */
export interface BarAccess {
  read(offset: number, length: number): Uint8Array;
  write(offset: number, data: Uint8Array): void;
}

export interface EngineCommand {
  readonly opcode: Opcode;
  readonly source?: bigint | undefined;
  readonly destination?: bigint | undefined;
  readonly length?: number | undefined;
  readonly sourceLocal?: boolean | undefined;
  readonly destinationLocal?: boolean | undefined;
  /** Fill, Message, FetchAdd. */
  readonly pattern?: bigint | undefined;
  /** Default untranslated. */
  readonly mode?: AddressMode | undefined;
  readonly pasid?: Pasid | undefined;
  readonly privileged?: boolean | undefined;
  readonly execute?: boolean | undefined;
  readonly noSnoop?: boolean | undefined;
  readonly relaxedOrdering?: boolean | undefined;
  readonly requestPages?: boolean | undefined;
  readonly hostile?: boolean | undefined;
  /** Hostile only. */
  readonly requester?: Rid | undefined;
  readonly vector?: number | undefined;
  /** Bytes per request, 1 to 4096. */
  readonly chunk?: number | undefined;
}

export interface EngineOutcome {
  /** A page was requested; the command goes on when it is answered. */
  readonly busy: boolean;
  readonly error: keyof typeof ErrorCode;
  readonly errorAddress: bigint;
  /** Bytes done. */
  readonly count: bigint;
  readonly result: bigint;
}

/** Programs and starts a command. */
export function startCommand(bar: BarAccess, command: EngineCommand): EngineOutcome {
  write32(bar, Register.Opcode, command.opcode);
  write32(bar, Register.Flags, flagsOf(command));
  write32(bar, Register.Pasid, command.pasid ?? 0);
  const { requester, vector } = command;
  write32(bar, Register.Requester, requester === undefined ? 0 : REQUESTER_OVERRIDE | requester);
  write64(bar, Register.Source, command.source ?? 0n);
  write64(bar, Register.Destination, command.destination ?? 0n);
  write32(bar, Register.Length, command.length ?? 0);
  write32(bar, Register.Chunk, command.chunk ?? DEFAULT_CHUNK);
  write64(bar, Register.Pattern, command.pattern ?? 0n);
  write32(bar, Register.Vector, vector === undefined ? 0 : (VECTOR_ENABLE | vector) >>> 0);
  write32(bar, Register.Status, Status.Done | Status.Error);
  write32(bar, Register.Control, Control.Start);
  return readOutcome(bar);
}

/** What the registers say now. */
export function readOutcome(bar: BarAccess): EngineOutcome {
  return {
    busy: (read32(bar, Register.Status) & Status.Busy) !== 0,
    error: errorName(read32(bar, Register.Error)) ?? "BadCommand",
    errorAddress: read64(bar, Register.ErrorAddress),
    count: read64(bar, Register.Count),
    result: read64(bar, Register.Result),
  };
}

/** Bytes of the local memory; `offset` and `length` stay inside its 16 KiB. */
export function readLocal(bar: BarAccess, offset: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  forPages(offset, length, (at, first, bytes) => {
    out.set(bar.read(Region.LocalMemory + at, bytes), first);
  });
  return out;
}

/** Writes bytes of the local memory, inside its 16 KiB. */
export function writeLocal(bar: BarAccess, offset: number, data: Uint8Array): void {
  forPages(offset, data.length, (at, first, bytes) => {
    bar.write(Region.LocalMemory + at, data.subarray(first, first + bytes));
  });
}

/** Points an MSI-X vector at an address, unmasked. */
export function setVector(bar: BarAccess, vector: number, address: bigint, data: number): void {
  const entry = new Uint8Array(16);
  const view = new DataView(entry.buffer);
  view.setBigUint64(0, address, true);
  view.setUint32(8, data, true);
  bar.write(Region.MsixTable + vector * 16, entry);
}

function flagsOf(command: EngineCommand): number {
  const on = (is: boolean | undefined, bit: number) => (is === true ? bit : 0);
  return (
    (command.mode ?? AddressMode.Untranslated) |
    on(command.pasid !== undefined, Flag.PasidValid) |
    on(command.privileged, Flag.Privileged) |
    on(command.execute, Flag.Execute) |
    on(command.noSnoop, Flag.NoSnoop) |
    on(command.relaxedOrdering, Flag.RelaxedOrdering) |
    on(command.requestPages, Flag.RequestPages) |
    on(command.sourceLocal, Flag.SourceLocal) |
    on(command.destinationLocal, Flag.DestinationLocal) |
    on(command.hostile, Flag.Hostile)
  );
}

function forPages(
  offset: number,
  length: number,
  use: (at: number, first: number, bytes: number) => void,
): void {
  for (let done = 0; done < length; ) {
    const at = offset + done;
    const bytes = Math.min(length - done, 4096 - (at % 4096));
    use(at, done, bytes);
    done += bytes;
  }
}

function write32(bar: BarAccess, register: number, value: number): void {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  bar.write(Region.Registers + register, bytes);
}

function write64(bar: BarAccess, register: number, value: bigint): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  bar.write(Region.Registers + register, bytes);
}

function read32(bar: BarAccess, register: number): number {
  const bytes = bar.read(Region.Registers + register, 4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
}

function read64(bar: BarAccess, register: number): bigint {
  const bytes = bar.read(Region.Registers + register, 8);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
}
