/**
 * The DMA test engine: an endpoint that does what its registers say, well or badly.
 *
 * Theory: a command runs at once, inside the write that starts it. Only a page request suspends it
 * (Busy stays on); the answer resumes it where it stopped. The state of a command is `#chain` (the
 * next descriptor) and `#command`; everything else is in the register file, so that a reset is a
 * reset of registers, device TLB and MSI-X table. Data sheet: docs/devices/dma-engine.md.
 */
import {
  CapabilityId,
  type ConfigEffect,
  ConfigRegisters,
  findStandard,
  type PciFunction,
} from "../../pcie/index.js";
import { Controls } from "../controls.js";
import { DeviceTlb } from "../device-tlb.js";
import type { AtcInvalidation, Endpoint, PageGroupAnswer } from "../endpoint.js";
import { MsiSender } from "../msi-sender.js";
import { type InterruptMessage, MsixTable } from "../msix-table.js";
import { PlainBar } from "../plain-bar.js";
import { type DevicePort, PageResponse } from "../transaction.js";
import { type Command, mayStandInChain, readDescriptor, type Step } from "./command.js";
import { Execution } from "./execution.js";
import { RegisterFile } from "./register-file.js";
import {
  Control,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_LIMIT,
  ENGINE_VECTORS_MAX,
  ErrorCode,
  Flag,
  LENGTH_LIMIT,
  LOCAL_MEMORY_BYTES,
  Opcode,
  PAGE_RETRIES,
  Region,
  Register,
  Status,
  VECTOR_ENABLE,
} from "./registers.js";
import { Requester } from "./requester.js";

export interface EngineOptions {
  readonly registers?: ConfigRegisters | undefined;
  /** Registers of the PF when the engine is a VF. */
  readonly physical?: ConfigRegisters | undefined;
}

/** The engine behind one function. */
export class DmaEngine implements Endpoint {
  readonly fn: PciFunction;
  readonly registers: ConfigRegisters;
  readonly tlb = new DeviceTlb();
  readonly msix: MsixTable;
  /** Behind BAR 0 from {@link Region.LocalMemory} on. */
  readonly local = new Uint8Array(LOCAL_MEMORY_BYTES);
  readonly #memory = new Map<number, PlainBar>();
  readonly #file = new RegisterFile();
  readonly #controls: Controls;
  readonly #msi: MsiSender;
  readonly #port: DevicePort;
  readonly #requester: Requester;
  readonly #execution: Execution;
  #command: Command | undefined;
  #chain: bigint | undefined;
  #descriptors = 0;
  #answer: PageResponse | undefined;
  #retries = 0;
  #running = false;
  #isPinUp = false;

  constructor(fn: PciFunction, port: DevicePort, options: EngineOptions = {}) {
    this.fn = fn;
    this.registers = options.registers ?? ConfigRegisters.of(fn);
    this.#controls = new Controls(fn, this.registers, options.physical);
    const msi = findStandard(fn.capabilities, CapabilityId.Msi) ?? undefined;
    this.#msi = new MsiSender(this.registers, msi);
    this.#port = port;
    this.msix = new MsixTable(Math.min(this.#controls.vectorCount, ENGINE_VECTORS_MAX));
    this.#requester = new Requester(this.#file, this.#controls, this.tlb, port, fn.rid);
    this.#execution = new Execution(this.#file, this.#requester, this.local);
  }

  readBar(bar: number, offset: number, length: number): Uint8Array {
    const plain = this.plainBar(bar);
    if (plain !== undefined) return plain.read(offset, length);
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.#readByte(offset + i);
    return out;
  }

  /** Every BAR but BAR 0 is memory. */
  plainBar(bar: number): PlainBar | undefined {
    if (bar === 0) return undefined;
    const found = this.#memory.get(bar) ?? new PlainBar();
    this.#memory.set(bar, found);
    return found;
  }

  writeBar(bar: number, offset: number, data: Uint8Array): void {
    const plain = this.plainBar(bar);
    if (plain !== undefined) {
      plain.write(offset, data);
      return;
    }
    const control = Region.Registers + Register.Control;
    let command = 0;
    for (let i = 0; i < data.length; i++) {
      const value = data[i] ?? 0;
      if (offset + i === control) command = value;
      this.#writeByte(offset + i, value);
    }
    if (offset < Region.PendingBits) this.#sendPending();
    if ((command & Control.Reset) !== 0) this.reset();
    if ((command & Control.Abort) !== 0 && this.isBusy) this.#fail(ErrorCode.Aborted, 0n);
    if ((command & Control.Start) !== 0 && !this.isBusy) this.#start();
    this.#movePin();
  }

  configWritten(effects: readonly ConfigEffect[]): void {
    if (effects.includes("function-level-reset") || effects.includes("power-reset")) this.reset();
    // What was translated before ATS is switched off is not true after it (§ 10.3.8).
    if (!this.#controls.ats) this.tlb.clear();
    this.#sendPending();
    this.#movePin();
  }

  invalidateAtc(request: AtcInvalidation): void {
    this.tlb.invalidate(request);
  }

  pageResponse(answer: PageGroupAnswer): void {
    if (this.#requester.waiting !== answer.group) return;
    this.#requester.waiting = undefined;
    this.#answer = answer.code;
    if (!this.#running && this.#command !== undefined) this.#run();
  }

  /** Registers, device TLB, MSI-X table and local memory as after power on. */
  reset(): void {
    this.#file.reset();
    this.tlb.clear();
    this.msix.reset();
    this.#msi.reset();
    this.local.fill(0);
    this.#command = undefined;
    this.#chain = undefined;
    this.#answer = undefined;
    this.#requester.waiting = undefined;
  }

  /** A command waits for a page. */
  get isBusy(): boolean {
    return (this.#file.get32(Register.Status) & Status.Busy) !== 0;
  }

  /**
   * Raises a vector of MSI-X, or of MSI where that is on: sends its message, or marks it pending
   * while masked (§ 6.1.4).
   */
  raise(vector: number): void {
    if (this.#msi.isEnabled) {
      this.#msi.raise(vector);
      this.#sendPending();
      return;
    }
    if (vector >= this.msix.vectors) return;
    this.msix.setPending(vector, true);
    this.#sendPending();
  }

  #start(): void {
    const file = this.#file;
    file.set32(Register.Error, ErrorCode.None);
    file.set64(Register.ErrorAddress, 0n);
    file.set64(Register.Count, 0n);
    file.set64(Register.Result, 0n);
    file.set32(Register.Status, Status.Busy);
    this.#descriptors = 0;
    this.#retries = 0;
    this.#answer = undefined;
    const opcode = file.get32(Register.Opcode);
    const source = file.get64(Register.Source);
    this.#chain = opcode === Opcode.Chase ? source : undefined;
    this.#command = {
      opcode: opcode === Opcode.Chase ? Opcode.Nop : opcode,
      source,
      destination: file.get64(Register.Destination),
      length: file.get32(Register.Length),
      done: 0,
    };
    this.#run();
  }

  #run(): void {
    this.#running = true;
    try {
      for (;;) {
        const step = this.#step();
        if (step === undefined) this.#end(Status.Done);
        else if (step.kind === "error") this.#fail(step.code, step.address);
        else if (step.kind === "done") {
          this.#retries = 0;
          continue;
        } else if (this.#answer !== undefined) continue;
        return;
      }
    } finally {
      this.#running = false;
    }
  }

  /** One piece of work; undefined when there is none left. */
  #step(): Step | undefined {
    if (this.#answer !== undefined) {
      const code = this.#takeAnswer();
      if (code !== undefined) return { kind: "error", code, address: this.#here };
    }
    const command = this.#command;
    if (command === undefined) return undefined;
    if (command.opcode > Opcode.FetchAdd || command.length > LENGTH_LIMIT) {
      return { kind: "error", code: ErrorCode.BadCommand, address: 0n };
    }
    if (command.opcode !== Opcode.Nop) {
      const step = this.#execution.step(command);
      if (step !== undefined) return step;
    }
    return this.#next();
  }

  /** Fetches the next descriptor of a chain; undefined at its end. */
  #next(): Step | undefined {
    const at = this.#chain;
    if (at === undefined || at === 0n) return undefined;
    if (this.#descriptors >= DESCRIPTOR_LIMIT) {
      return { kind: "error", code: ErrorCode.DescriptorLimit, address: at };
    }
    const fetched = this.#execution.fetchBytes(at, DESCRIPTOR_BYTES);
    if (fetched.kind !== "done") {
      // Waiting or failed: the command that is done must not run again.
      this.#command = { opcode: Opcode.Nop, source: at, destination: 0n, length: 0, done: 0 };
      return fetched;
    }
    this.#descriptors++;
    const { next, command } = readDescriptor(fetched.data ?? new Uint8Array(DESCRIPTOR_BYTES));
    if (!mayStandInChain(command.opcode)) {
      return { kind: "error", code: ErrorCode.BadCommand, address: at };
    }
    this.#chain = next;
    this.#command = command;
    return fetched;
  }

  /** Consumes the answer to a page request; the error it means, if any. */
  #takeAnswer(): ErrorCode | undefined {
    const answer = this.#answer;
    this.#answer = undefined;
    if (answer === PageResponse.InvalidRequest) return ErrorCode.PageRefused;
    if (answer !== PageResponse.Success) return ErrorCode.PageFailed;
    this.#retries++;
    return this.#retries > PAGE_RETRIES ? ErrorCode.NoTranslation : undefined;
  }

  get #here(): bigint {
    const command = this.#command;
    if (command === undefined) return 0n;
    const local = (this.#file.get32(Register.Flags) & Flag.SourceLocal) !== 0;
    const base = command.opcode === Opcode.Fill || local ? command.destination : command.source;
    return base + BigInt(command.done);
  }

  #fail(code: ErrorCode | number, address: bigint): void {
    this.#file.set32(Register.Error, code);
    this.#file.set64(Register.ErrorAddress, address);
    this.#end(Status.Done | Status.Error);
  }

  #end(status: number): void {
    this.#command = undefined;
    this.#chain = undefined;
    this.#requester.waiting = undefined;
    this.#file.set32(Register.Status, status);
    const vector = this.#file.get32(Register.Vector);
    if ((vector & VECTOR_ENABLE) !== 0) this.raise(vector & 0x7ff);
    this.#movePin();
  }

  /** Without messages the pin is up from the end of a command until Done is cleared. */
  #movePin(): void {
    const raised = (this.#file.get32(Register.Vector) & VECTOR_ENABLE) !== 0;
    const done = (this.#file.get32(Register.Status) & Status.Done) !== 0;
    const messages = this.#controls.msix || this.#msi.isEnabled;
    const up = raised && done && !messages && this.#controls.pin;
    if (up === this.#isPinUp) return;
    this.#isPinUp = up;
    this.#port.pin?.(up);
  }

  #sendPending(): void {
    const { msix } = this;
    if (this.#controls.busMaster) {
      for (let next = this.#msi.take(); next !== undefined; next = this.#msi.take()) {
        this.#post(next);
      }
    }
    if (!this.#controls.msix || this.#controls.msixMasked || !this.#controls.busMaster) return;
    for (let vector = 0; vector < msix.vectors; vector++) {
      if (!msix.isPending(vector) || msix.isMasked(vector)) continue;
      msix.setPending(vector, false);
      this.#post(msix.message(vector));
    }
  }

  #post({ address, data }: InterruptMessage): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, data, true);
    this.#requester.post(address, bytes);
  }

  #readByte(at: number): number {
    if (at < Region.PendingBits) return this.msix.readTable(at);
    if (at < Region.Registers) return this.msix.readPending(at - Region.PendingBits);
    if (at < Region.RegistersEnd) return this.#file.readByte(at - Region.Registers);
    return at < Region.LocalMemory ? 0 : (this.local[at - Region.LocalMemory] ?? 0);
  }

  #writeByte(at: number, value: number): void {
    if (at < Region.PendingBits) this.msix.writeTable(at, value);
    else if (at >= Region.LocalMemory) {
      if (at - Region.LocalMemory < this.local.length) this.local[at - Region.LocalMemory] = value;
    } else if (at >= Region.Registers) this.#file.writeByte(at - Region.Registers, value);
  }
}
