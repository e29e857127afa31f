/**
 * One Intel VT-d remapping unit: registers, caches, queues, and the tables in memory that it walks.
 *
 * Legacy and scalable mode, chosen by the root table register. Invalidation by registers and
 * protected memory regions are there when asked for. Not modelled: posted interrupts, performance
 * monitoring; their capability bits are clear.
 */
import { VtdRootTableMode, vtdFaultName } from "../../formats/index.js";
import type { PhysicalMemory } from "../../memory/index.js";
import { cacheWords } from "../entry-cache.js";
import type { CachedContext, CachedPasid, Iommu, IommuCaches } from "../iommu.js";
import type { IommuPorts, WalkObserver } from "../iommu-ports.js";
import { IOTLB_LIMIT, Iotlb } from "../iotlb.js";
import { cachedTranslations } from "../iotlb-view.js";
import type {
  DmaAnswer,
  DmaRequest,
  InterruptAnswer,
  InterruptRequest,
  PageRequestAnswer,
  PageRequestMessage,
} from "../translation.js";
import { Stage1Walk } from "../walk-stage1.js";
import { Stage2Walk } from "../walk-stage2.js";
import {
  type VtdCapabilities,
  type VtdOptions,
  vtdCapabilities,
  vtdRegisters,
} from "./capabilities.js";
import { type CommandHandler, CommandQueue } from "./command-queue.js";
import { CONTEXT_LINES, ContextWord, DeviceTable } from "./device-table.js";
import { EntryReader } from "./entry-reader.js";
import { UnitEvent } from "./event.js";
import { EventLog } from "./event-log.js";
import { InterruptRemapper } from "./interrupt-remap.js";
import { Invalidator } from "./invalidate.js";
import { InvalidationRegisters } from "./invalidation-registers.js";
import { PageRequestQueue } from "./page-request.js";
import { PASID_LINES, PasidTable } from "./pasid-table.js";
import { PROCESS_TRANSLATIONS, ProcessFlag, ProcessWord } from "./process-line.js";
import { ProtectedMemory } from "./protected-memory.js";
import { RegisterFile } from "./register-file.js";
import { Translator } from "./translate.js";

/** How a unit is built. */
export interface VtdUnitOptions extends VtdOptions {
  readonly name?: string;
  /** A power of two, 8 to 4096; default 4096. */
  readonly iotlbEntries?: number;
}

/** An Intel VT-d unit. */
export class VtdUnit implements Iommu {
  readonly kind = "vtd";
  readonly name: string;
  readonly capabilities: VtdCapabilities;
  readonly #contexts: DeviceTable;
  readonly #pasids: PasidTable;
  readonly #iotlb: Iotlb;
  readonly #stage1: Stage1Walk;
  readonly #stage2: Stage2Walk;
  readonly #reader: EntryReader;
  readonly #translator: Translator;
  readonly #interrupts: InterruptRemapper;
  readonly #pageRequests: PageRequestQueue;
  readonly #registers: RegisterFile;
  readonly #log: EventLog;

  /** @throws RangeError when an option is out of its range. */
  constructor(memory: PhysicalMemory, ports: IommuPorts, options: VtdUnitOptions = {}) {
    const registers = vtdRegisters(options);
    const can = vtdCapabilities(registers);
    this.name = options.name ?? "vtd";
    this.capabilities = can;
    const faultEvent = new UnitEvent(ports);
    const invalidationEvent = new UnitEvent(ports);
    const pageRequestEvent = new UnitEvent(ports);
    const log = new EventLog(faultEvent, can.faultRecords);
    this.#log = log;
    this.#reader = new EntryReader(memory);
    const storage = new Int32Array(cacheWords(CONTEXT_LINES + PASID_LINES));
    const contexts = new DeviceTable(this.#reader, can, storage);
    const pasids = new PasidTable(this.#reader, can, contexts);
    const iotlb = new Iotlb(options.iotlbEntries ?? IOTLB_LIMIT);
    const { hostAddressWidth: addressWidth, pages2M, pages1G, snoopControl, deviceTlb } = can;
    const features2 = { addressWidth, pages2M, pages1G, snoopControl, deviceTlb };
    const stage2 = new Stage2Walk(memory, features2);
    const stage1 = new Stage1Walk(memory, stage2, { addressWidth, pages1G: can.stage1Pages1G });
    const protection = new ProtectedMemory(can);
    const parts = { capabilities: can, contexts, pasids, iotlb, stage1, stage2, log, protection };
    this.#translator = new Translator(parts);
    this.#interrupts = new InterruptRemapper(this.#reader, log);
    const invalidator = new Invalidator({
      memory,
      ports,
      contexts,
      pasids,
      iotlb,
      interrupts: this.#interrupts,
      scalable: can.scalable,
      onComplete: () => this.#registers.completeInvalidation(),
    });
    this.#pageRequests = new PageRequestQueue({
      memory,
      capabilities: can,
      contexts,
      log,
      event: pageRequestEvent,
    });
    const execute: CommandHandler = (type, words) => invalidator.execute(type, words);
    const queue = new CommandQueue(memory, log, can.scalable, execute);
    this.#registers = new RegisterFile({
      registers,
      capabilities: can,
      contexts,
      translator: this.#translator,
      interrupts: this.#interrupts,
      queue,
      invalidations: new InvalidationRegisters({
        iotlbRegisters: can.registerInvalidation ? can.iotlbRegisters : undefined,
        isUsable: () => contexts.mode === VtdRootTableMode.legacy && !queue.isEnabled,
        execute,
      }),
      protection,
      log,
      pageRequests: this.#pageRequests,
      faultEvent,
      invalidationEvent,
      pageRequestEvent,
    });
    this.#contexts = contexts;
    this.#pasids = pasids;
    this.#iotlb = iotlb;
    this.#stage1 = stage1;
    this.#stage2 = stage2;
  }

  get observer(): WalkObserver | undefined {
    return this.#reader.observer;
  }

  set observer(observer: WalkObserver | undefined) {
    this.#reader.observer = observer;
    this.#stage1.observer = observer;
    this.#stage2.observer = observer;
  }

  get memoryReads(): number {
    return this.#reader.reads + this.#stage1.reads + this.#stage2.reads;
  }

  /** Faults recorded, and faults lost since no record was free. */
  get faults(): { readonly recorded: number; readonly lost: number } {
    return { recorded: this.#log.recorded, lost: this.#log.lost };
  }

  translate(request: DmaRequest, answer: DmaAnswer): void {
    this.#translator.translate(request, answer);
  }

  interrupt(request: InterruptRequest): InterruptAnswer {
    return this.#interrupts.deliver(request);
  }

  pageRequest(message: PageRequestMessage): PageRequestAnswer {
    return this.#pageRequests.receive(message, this.#translator.isEnabled);
  }

  readRegister32(offset: number): number {
    return this.#registers.read(offset) >>> 0;
  }

  writeRegister32(offset: number, value: number): void {
    this.#registers.write(offset, value >>> 0);
  }

  readRegister64(offset: number): bigint {
    const low = this.readRegister32(offset);
    return (BigInt(this.readRegister32(offset + 4)) << 32n) | BigInt(low);
  }

  writeRegister64(offset: number, value: bigint): void {
    this.writeRegister32(offset, Number(value & 0xffff_ffffn));
    this.writeRegister32(offset + 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  inspect(): IommuCaches {
    return {
      iotlb: cachedTranslations(this.#iotlb),
      contexts: this.#cachedContexts(),
      pasids: this.#cachedPasids(),
      interrupts: this.#interrupts.inspect(),
    };
  }

  faultName(reason: number): string {
    return vtdFaultName(reason);
  }

  #cachedContexts(): CachedContext[] {
    const { cache, mode } = this.#contexts;
    const isScalable = mode === VtdRootTableMode.scalable;
    return [...cache.lines()].map((line) => ({
      requester: cache.key(line),
      domainId: isScalable ? undefined : (cache.data[line + ProcessWord.domainId] as number),
      table: frameAt(
        cache.data,
        line + (isScalable ? ContextWord.directoryLo : ProcessWord.stage2Lo),
      ),
    }));
  }

  #cachedPasids(): CachedPasid[] {
    const { cache } = this.#pasids;
    const { data } = cache;
    return [...cache.lines()].map((line) => {
      const translation = (data[line + ProcessWord.flags] as number) & ProcessFlag.translation;
      return {
        requester: cache.key(line),
        pasid: data[line + 1] as number,
        domainId: data[line + ProcessWord.domainId] as number,
        translation: PROCESS_TRANSLATIONS[translation as keyof typeof PROCESS_TRANSLATIONS],
        stage1Table: frameAt(data, line + ProcessWord.stage1Lo),
        stage2Table: frameAt(data, line + ProcessWord.stage2Lo),
      };
    });
  }
}

/** The frame of an address kept as two halves. */
function frameAt(data: Int32Array, at: number): number {
  return ((data[at + 1] as number) >>> 0) * 0x10_0000 + ((data[at] as number) >>> 12);
}
