/**
 * The half of the engine that speaks to the link: attributes from the registers, translation
 * through the device TLB, page requests, and the accesses themselves.
 *
 * An honest engine obeys its switches (Bus Master, PASID, ATS enables). With the hostile flag it
 * sends what it is told, except that Bus Master Enable always holds: it gates the link itself.
 */
import { type MemoryAccess, memoryRequest, type PasidPrefix } from "../../pcie/index.js";
import { makePasid, makeRid, type Pasid } from "../../units/index.js";
import type { Controls } from "../controls.js";
import type { DeviceTlb, TlbEntry } from "../device-tlb.js";
import type { DeviceCompletion, DevicePort, DeviceRequest } from "../transaction.js";
import { DONE, type Step, WAITS } from "./command.js";
import type { RegisterFile } from "./register-file.js";
import { AddressMode, ErrorCode, Flag, REQUESTER_OVERRIDE, Register } from "./registers.js";

const PAGE = 4096n;
/** A translation request asks for one translation: two doublewords (PCIe 6 § 10.2.2). */
const TRANSLATION_BYTES = 8;
/** No Write: the lowest address bit of a translation request. */
const NO_WRITE = 1n;
const GROUPS = 512;

export interface Attributes {
  readonly mode: number;
  readonly pasid: Pasid | undefined;
  readonly prefix: PasidPrefix | undefined;
  readonly requester: number;
  readonly noSnoop: boolean;
  readonly relaxedOrdering: boolean;
  readonly requestPages: boolean;
}

export class Requester {
  readonly #registers: RegisterFile;
  readonly #controls: Controls;
  readonly #tlb: DeviceTlb;
  readonly #port: DevicePort;
  readonly #ownRid: number;
  #group = 0;
  /** The group that an answer is awaited for. */
  waiting: number | undefined;

  constructor(
    registers: RegisterFile,
    controls: Controls,
    tlb: DeviceTlb,
    port: DevicePort,
    ownRid: number,
  ) {
    this.#registers = registers;
    this.#controls = controls;
    this.#tlb = tlb;
    this.#port = port;
    this.#ownRid = ownRid;
  }

  /** What the registers ask for, or the error that an honest device answers with. */
  attributes(): Attributes | ErrorCode {
    const flags = this.#registers.get32(Register.Flags);
    const hostile = (flags & Flag.Hostile) !== 0;
    const mode = flags & Flag.AddressModeMask;
    const controls = this.#controls;
    if (!controls.busMaster) return ErrorCode.BusMasterOff;
    if (mode > AddressMode.RawTranslated) return ErrorCode.BadCommand;
    const override = this.#registers.get32(Register.Requester);
    const forged = (override & REQUESTER_OVERRIDE) !== 0;
    if (!hostile && (forged || mode === AddressMode.RawTranslated)) return ErrorCode.BadCommand;
    if (!hostile && mode === AddressMode.Ats && !controls.ats) return ErrorCode.AtsOff;
    const prefix = this.#prefix(flags);
    if (prefix !== undefined && !hostile && !this.#mayPrefix(prefix)) return ErrorCode.PasidOff;
    return {
      mode,
      pasid: prefix?.pasid,
      prefix,
      requester: forged ? override & 0xffff : this.#ownRid,
      noSnoop: (flags & Flag.NoSnoop) !== 0 && (hostile || controls.noSnoop),
      relaxedOrdering: (flags & Flag.RelaxedOrdering) !== 0,
      requestPages: (flags & Flag.RequestPages) !== 0,
    };
  }

  /** One access inside one page. `data`: what a write or atomic carries. */
  access(
    attributes: Attributes,
    access: MemoryAccess,
    address: bigint,
    length: number,
    data?: Uint8Array,
  ): Step {
    if (attributes.mode !== AddressMode.Ats) {
      const type = attributes.mode === AddressMode.RawTranslated ? "translated" : "untranslated";
      return this.#send(attributes, type, access, address, address, length, data);
    }
    const entry = this.translate(attributes, access, address);
    if ("kind" in entry) return entry;
    const { translation, first } = entry;
    if (translation.untranslatedOnly) {
      return this.#send(attributes, "untranslated", access, address, address, length, data);
    }
    const page = Number(address / PAGE) - first + translation.pfn;
    const target = BigInt(page) * PAGE + (address % PAGE);
    return this.#send(attributes, "translated", access, target, address, length, data);
  }

  /** A usable entry of the device TLB, fetched when missing; else how the attempt ended. */
  translate(attributes: Attributes, access: MemoryAccess, address: bigint): TlbEntry | Step {
    const page = Number(address / PAGE);
    const cached = this.#tlb.lookUp(attributes.pasid, page);
    if (cached !== undefined && allows(cached, attributes, access)) return cached;
    const answer = this.#translationRequest(attributes, access, page);
    if (answer.kind !== "translation") return failed(answer, address);
    const { translation } = answer;
    const size = translation.pageCount;
    const entry: TlbEntry = { pasid: attributes.pasid, first: page - (page % size), translation };
    if (translation.read || translation.write) this.#tlb.fill(attributes.pasid, page, translation);
    if (allows(entry, attributes, access)) return entry;
    if (!attributes.requestPages || !this.#controls.pageRequests) {
      return { kind: "error", code: ErrorCode.NoTranslation, address };
    }
    this.#requestPage(attributes, access, page);
    return WAITS;
  }

  /** Sends without looking at any switch but Bus Master: messages of the device itself. */
  post(address: bigint, data: Uint8Array): void {
    if (!this.#controls.busMaster) return;
    const requester = makeRid(this.#ownRid);
    const tlp = memoryRequest({ requester, access: "write", address, length: data.length });
    this.#issue({ tlp, data });
  }

  #prefix(flags: number): PasidPrefix | undefined {
    if ((flags & Flag.PasidValid) === 0) return undefined;
    return {
      pasid: makePasid(this.#registers.get32(Register.Pasid) & 0xfffff),
      privileged: (flags & Flag.Privileged) !== 0,
      execute: (flags & Flag.Execute) !== 0,
    };
  }

  #mayPrefix(prefix: PasidPrefix): boolean {
    const controls = this.#controls;
    if (!controls.pasid || prefix.pasid >= controls.pasidLimit) return false;
    if (prefix.execute && !controls.pasidExecute) return false;
    return !prefix.privileged || controls.pasidPrivileged;
  }

  #send(
    attributes: Attributes,
    addressType: DeviceRequest["tlp"]["addressType"],
    access: MemoryAccess,
    address: bigint,
    asked: bigint,
    length: number,
    data: Uint8Array | undefined,
  ): Step {
    const { prefix, noSnoop, relaxedOrdering } = attributes;
    const requester = makeRid(attributes.requester);
    // A translated address belongs to no address space: its PASID has done its work, and is left
    // out (PCIe 6 § 10.2.4).
    const carried = addressType === "translated" ? undefined : prefix;
    const tlp = memoryRequest({
      requester,
      access,
      addressType,
      address,
      length,
      noSnoop,
      relaxedOrdering,
      prefix: carried,
    });
    const completion = this.#issue({ tlp, data });
    if (completion.kind === "posted") return DONE;
    if (completion.kind === "data") return { kind: "done", data: completion.data };
    return failed(completion, asked);
  }

  #translationRequest(
    attributes: Attributes,
    access: MemoryAccess,
    page: number,
  ): DeviceCompletion {
    const address = BigInt(page) * PAGE + (access === "read" ? NO_WRITE : 0n);
    const tlp = memoryRequest({
      requester: makeRid(attributes.requester),
      access: "read",
      addressType: "translation-request",
      address,
      length: TRANSLATION_BYTES,
      prefix: attributes.prefix,
    });
    return this.#issue({ tlp });
  }

  #requestPage(attributes: Attributes, access: MemoryAccess, page: number): void {
    const group = this.#group;
    this.#group = (group + 1) % GROUPS;
    this.waiting = group;
    this.#registers.set32(Register.PageGroup, group);
    this.#port.requestPage({
      pfn: page,
      read: access !== "write",
      write: access !== "read",
      execute: attributes.prefix?.execute === true,
      privileged: attributes.prefix?.privileged === true,
      pasid: attributes.pasid,
      group,
      last: true,
    });
  }

  #issue(request: DeviceRequest): DeviceCompletion {
    this.#registers.set64(Register.Requests, this.#registers.get64(Register.Requests) + 1n);
    return this.#port.issue(request);
  }
}

function allows(entry: TlbEntry, attributes: Attributes, access: MemoryAccess): boolean {
  const { read, write, execute, privileged } = entry.translation;
  if (access !== "write" && !read) return false;
  if (access !== "read" && !write) return false;
  if (attributes.prefix?.execute === true && !execute) return false;
  return attributes.prefix === undefined || attributes.prefix.privileged === privileged;
}

function failed(completion: DeviceCompletion, address: bigint): Step {
  switch (completion.kind) {
    case "unsupported-request":
      return { kind: "error", code: ErrorCode.UnsupportedRequest, address };
    case "completer-abort":
      return { kind: "error", code: ErrorCode.CompleterAbort, address };
    default:
      return { kind: "error", code: ErrorCode.Timeout, address };
  }
}
