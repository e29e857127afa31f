/**
 * What each opcode does, one piece at a time. A piece never crosses a 4 KiB page and is at most
 * Chunk bytes; a piece that has to wait for a page is done again from its start.
 */
import { type Command, DONE, type Step } from "./command.js";
import type { RegisterFile } from "./register-file.js";
import { EQUAL, ErrorCode, Flag, Opcode, Register } from "./registers.js";
import type { Attributes, Requester } from "./requester.js";

const PAGE = 4096n;

export class Execution {
  readonly #file: RegisterFile;
  readonly #requester: Requester;
  readonly #local: Uint8Array;

  constructor(file: RegisterFile, requester: Requester, local: Uint8Array) {
    this.#file = file;
    this.#requester = requester;
    this.#local = local;
  }

  /** The next piece of a command; undefined when it is done. */
  step(command: Command): Step | undefined {
    const single = command.opcode >= Opcode.Message;
    if (single ? command.done > 0 : command.done >= command.length) {
      if (command.opcode === Opcode.Compare) this.#file.set64(Register.Result, EQUAL);
      return undefined;
    }
    const attributes = this.#requester.attributes();
    if (typeof attributes === "number") {
      return { kind: "error", code: attributes, address: command.source };
    }
    switch (command.opcode) {
      case Opcode.Copy:
        return this.#copy(command, attributes);
      case Opcode.Fill:
        return this.#fill(command, attributes);
      case Opcode.Compare:
        return this.#compare(command, attributes);
      case Opcode.Message:
        return this.#message(command, attributes);
      case Opcode.Translate:
        return this.#translate(command, attributes);
      default:
        return this.#fetchAdd(command, attributes);
    }
  }

  /** Reads bytes that may lie in two pages: descriptors. */
  fetchBytes(address: bigint, length: number): Step {
    const attributes = this.#requester.attributes();
    if (typeof attributes === "number") return { kind: "error", code: attributes, address };
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = wrap(address + BigInt(done));
      const piece = Math.min(length - done, toPageEnd(at));
      const step = this.#requester.access(attributes, "read", at, piece);
      if (step.kind !== "done") return step;
      out.set((step.data ?? new Uint8Array(0)).subarray(0, piece), done);
      done += piece;
    }
    return { kind: "done", data: out };
  }

  #copy(command: Command, attributes: Attributes): Step {
    const from = wrap(command.source + BigInt(command.done));
    const to = wrap(command.destination + BigInt(command.done));
    const length = this.#piece(command, from, to);
    const read = this.#read(attributes, Flag.SourceLocal, from, length);
    if (read.kind !== "done") return read;
    const data = read.data ?? new Uint8Array(length);
    return this.#advance(command, length, this.#write(attributes, to, data));
  }

  #fill(command: Command, attributes: Attributes): Step {
    const to = wrap(command.destination + BigInt(command.done));
    const length = this.#piece(command, to, to);
    const data = new Uint8Array(length);
    const pattern = this.#pattern(8);
    for (let i = 0; i < Math.min(8, length); i++) data[i] = pattern[(command.done + i) % 8] ?? 0;
    // Each round doubles what is there; a multiple of the pattern's 8 bytes from the first on.
    for (let have = 8; have < length; have *= 2) data.copyWithin(have, 0, have);
    return this.#advance(command, length, this.#write(attributes, to, data));
  }

  #compare(command: Command, attributes: Attributes): Step {
    const a = wrap(command.source + BigInt(command.done));
    const b = wrap(command.destination + BigInt(command.done));
    const length = this.#piece(command, a, b);
    const first = this.#read(attributes, Flag.SourceLocal, a, length);
    if (first.kind !== "done") return first;
    const second = this.#read(attributes, Flag.DestinationLocal, b, length);
    if (second.kind !== "done") return second;
    for (let i = 0; i < length; i++) {
      if (first.data?.[i] === second.data?.[i]) continue;
      this.#file.set64(Register.Result, BigInt(command.done + i));
      command.done = command.length;
      command.opcode = Opcode.Nop;
      return DONE;
    }
    return this.#advance(command, length, second);
  }

  /** A write of four bytes of the pattern: what an interrupt looks like. */
  #message(command: Command, attributes: Attributes): Step {
    const to = command.destination;
    if (toPageEnd(to) < 4) return { kind: "error", code: ErrorCode.BadCommand, address: to };
    const step = this.#requester.access(attributes, "write", to, 4, this.#pattern(4));
    return this.#advance(command, 4, step);
  }

  #translate(command: Command, attributes: Attributes): Step {
    const { source } = command;
    const entry = this.#requester.translate(attributes, "read", source);
    if ("kind" in entry) return entry;
    const pfn = Number(source / PAGE) - entry.first + entry.translation.pfn;
    this.#file.set64(Register.Result, BigInt(pfn) * PAGE);
    return this.#advance(command, 1, DONE);
  }

  /** Adds the pattern to the 8 bytes at the destination; the old value is the result. */
  #fetchAdd(command: Command, attributes: Attributes): Step {
    const to = command.destination;
    if (to % 8n !== 0n) return { kind: "error", code: ErrorCode.BadCommand, address: to };
    const step = this.#requester.access(attributes, "atomic", to, 8, this.#pattern(8));
    if (step.kind === "done" && step.data !== undefined) {
      const view = new DataView(step.data.buffer, step.data.byteOffset, 8);
      this.#file.set64(Register.Result, view.getBigUint64(0, true));
    }
    return this.#advance(command, 8, step);
  }

  #advance(command: Command, length: number, step: Step): Step {
    if (step.kind !== "done") return step;
    command.done += length;
    this.#file.set64(Register.Count, this.#file.get64(Register.Count) + BigInt(length));
    return step;
  }

  #piece(command: Command, a: bigint, b: bigint): number {
    const chunk = Math.min(Math.max(this.#file.get32(Register.Chunk), 1), 4096);
    return Math.min(command.length - command.done, chunk, toPageEnd(a), toPageEnd(b));
  }

  #read(attributes: Attributes, localFlag: number, at: bigint, length: number): Step {
    if (!this.#flag(localFlag)) return this.#requester.access(attributes, "read", at, length);
    const data = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const from = this.#localAt(at, done);
      const run = Math.min(length - done, this.#local.length - from);
      data.set(this.#local.subarray(from, from + run), done);
      done += run;
    }
    return { kind: "done", data };
  }

  #write(attributes: Attributes, at: bigint, data: Uint8Array): Step {
    if (!this.#flag(Flag.DestinationLocal)) {
      return this.#requester.access(attributes, "write", at, data.length, data);
    }
    for (let done = 0; done < data.length; ) {
      const into = this.#localAt(at, done);
      const run = Math.min(data.length - done, this.#local.length - into);
      this.#local.set(data.subarray(done, done + run), into);
      done += run;
    }
    return DONE;
  }

  /** Local addresses wrap at the size of the local memory. */
  #localAt(at: bigint, i: number): number {
    return Number((at + BigInt(i)) % BigInt(this.#local.length));
  }

  #flag(bit: number): boolean {
    return (this.#file.get32(Register.Flags) & bit) !== 0;
  }

  #pattern(length: number): Uint8Array {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, this.#file.get64(Register.Pattern), true);
    return bytes.subarray(0, length);
  }
}

function toPageEnd(address: bigint): number {
  return 4096 - Number(address % PAGE);
}

/** Addresses are 64 bits. */
function wrap(address: bigint): bigint {
  return BigInt.asUintN(64, address);
}
