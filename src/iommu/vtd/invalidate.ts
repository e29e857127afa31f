/**
 * What each descriptor of the invalidation queue does: VT-d 5.0 § 6.5.2, § 7.7.
 *
 * Each drops what it names and nothing else: what software forgets to invalidate stays stale.
 */
import {
  getField,
  VTD_CONTEXT_CACHE_DESCRIPTOR,
  VTD_DEVICE_TLB_DESCRIPTOR,
  VTD_INTERRUPT_ENTRY_CACHE_DESCRIPTOR,
  VTD_IOTLB_DESCRIPTOR,
  VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR,
  VTD_PASID_CACHE_DESCRIPTOR,
  VTD_PASID_DEVICE_TLB_DESCRIPTOR,
  VTD_PASID_IOTLB_DESCRIPTOR,
  VTD_WAIT_DESCRIPTOR,
  VtdContextGranularity,
  VtdDescriptorType,
  VtdIotlbGranularity,
  VtdPasidCacheGranularity,
  VtdPasidIotlbGranularity,
  VtdRootTableMode,
} from "../../formats/index.js";
import type { PhysicalMemory } from "../../memory/index.js";
import type { IommuPorts } from "../iommu-ports.js";
import type { Iotlb } from "../iotlb.js";
import { type CommandResult, deviceTlbRange, isLegacyDescriptor } from "./command-queue.js";
import type { DeviceTable } from "./device-table.js";
import type { InterruptRemapper } from "./interrupt-remap.js";
import type { PasidTable } from "./pasid-table.js";
import { ProcessWord } from "./process-line.js";

export interface InvalidatorParts {
  readonly memory: PhysicalMemory;
  readonly ports: IommuPorts;
  readonly contexts: DeviceTable;
  readonly pasids: PasidTable;
  readonly iotlb: Iotlb;
  readonly interrupts: InterruptRemapper;
  readonly scalable: boolean;
  /** A wait descriptor asked for an interrupt. */
  readonly onComplete: () => void;
}

const MAXIMUM_ORDER = 52;

export class Invalidator {
  readonly #parts: InvalidatorParts;

  constructor(parts: InvalidatorParts) {
    this.#parts = parts;
  }

  /** Executes a descriptor whose reserved bits are zero. */
  execute(type: number, words: Uint32Array): CommandResult {
    if (!this.#parts.scalable && !isLegacyDescriptor(type)) return "reserved";
    switch (type) {
      case VtdDescriptorType.contextCache:
        return this.#contextCache(words);
      case VtdDescriptorType.pasidCache:
        return this.#pasidCache(words);
      case VtdDescriptorType.iotlb:
        return this.#iotlb(words);
      case VtdDescriptorType.pasidIotlb:
        return this.#pasidIotlb(words);
      case VtdDescriptorType.deviceTlb:
        return this.#deviceTlb(words);
      case VtdDescriptorType.pasidDeviceTlb:
        return this.#pasidDeviceTlb(words);
      case VtdDescriptorType.interruptEntryCache:
        return this.#interruptEntries(words);
      case VtdDescriptorType.wait:
        return this.#wait(words);
      default:
        return this.#pageGroupResponse(words);
    }
  }

  /** § 6.5.2.1. Contexts of scalable mode have no domain: naming one names all. */
  #contextCache(words: Uint32Array): CommandResult {
    const D = VTD_CONTEXT_CACHE_DESCRIPTOR;
    const { cache, mode } = this.#parts.contexts;
    const isScalable = mode === VtdRootTableMode.scalable;
    const domainId = getField(words, 0, D.domainId);
    const isOfDomain = (line: number): boolean =>
      isScalable || cache.data[line + ProcessWord.domainId] === domainId;
    switch (getField(words, 0, D.granularity)) {
      case VtdContextGranularity.global:
        cache.drop();
        return "done";
      case VtdContextGranularity.domain:
        cache.drop(isOfDomain);
        return "done";
      case VtdContextGranularity.device: {
        const sourceId = getField(words, 0, D.sourceId);
        const ignored = [0, 0b100, 0b110, 0b111][getField(words, 0, D.functionMask)] ?? 0;
        cache.drop((line) => ((cache.key(line) ^ sourceId) & ~ignored) === 0 && isOfDomain(line));
        return "done";
      }
      default:
        return "reserved";
    }
  }

  /** § 6.5.2.2 */
  #pasidCache(words: Uint32Array): CommandResult {
    const D = VTD_PASID_CACHE_DESCRIPTOR;
    const { cache } = this.#parts.pasids;
    const domainId = getField(words, 0, D.domainId);
    const pasid = getField(words, 0, D.pasid);
    const isOfDomain = (line: number): boolean =>
      cache.data[line + ProcessWord.domainId] === domainId;
    switch (getField(words, 0, D.granularity)) {
      case VtdPasidCacheGranularity.global:
        cache.drop();
        return "done";
      case VtdPasidCacheGranularity.domain:
        cache.drop(isOfDomain);
        return "done";
      case VtdPasidCacheGranularity.pasid:
        cache.drop((line) => isOfDomain(line) && cache.data[line + 1] === pasid);
        return "done";
      default:
        return "reserved";
    }
  }

  /** § 6.5.2.3 */
  #iotlb(words: Uint32Array): CommandResult {
    const D = VTD_IOTLB_DESCRIPTOR;
    const { iotlb } = this.#parts;
    const domainId = getField(words, 0, D.domainId);
    const order = getField(words, 0, D.addressMask);
    switch (getField(words, 0, D.granularity)) {
      case VtdIotlbGranularity.global:
        iotlb.clear();
        return "done";
      case VtdIotlbGranularity.domain:
        iotlb.invalidateDomain(domainId);
        return "done";
      case VtdIotlbGranularity.page:
        if (order > MAXIMUM_ORDER) return "reserved";
        iotlb.invalidateDomainPages(domainId, getField(words, 0, D.frame), order);
        return "done";
      default:
        return "reserved";
    }
  }

  /** § 6.5.2.4 */
  #pasidIotlb(words: Uint32Array): CommandResult {
    const D = VTD_PASID_IOTLB_DESCRIPTOR;
    const { iotlb } = this.#parts;
    const domainId = getField(words, 0, D.domainId);
    const pasid = getField(words, 0, D.pasid);
    const order = getField(words, 0, D.addressMask);
    switch (getField(words, 0, D.granularity)) {
      case VtdPasidIotlbGranularity.pasid:
        iotlb.invalidatePasid(domainId, pasid);
        return "done";
      case VtdPasidIotlbGranularity.page:
        if (order > MAXIMUM_ORDER) return "reserved";
        iotlb.invalidatePasidPages(domainId, pasid, getField(words, 0, D.frame), order);
        return "done";
      default:
        return "reserved";
    }
  }

  /** § 6.5.2.5 */
  #deviceTlb(words: Uint32Array): CommandResult {
    const D = VTD_DEVICE_TLB_DESCRIPTOR;
    const isDone = this.#parts.ports.invalidateDeviceTlb({
      requester: getField(words, 0, D.sourceId),
      pasid: undefined,
      global: false,
      ...deviceTlbRange(getField(words, 0, D.frame), getField(words, 0, D.size) !== 0),
    });
    return isDone ? "done" : "time-out";
  }

  /** § 6.5.2.6 */
  #pasidDeviceTlb(words: Uint32Array): CommandResult {
    const D = VTD_PASID_DEVICE_TLB_DESCRIPTOR;
    const isDone = this.#parts.ports.invalidateDeviceTlb({
      requester: getField(words, 0, D.sourceId),
      pasid: getField(words, 0, D.pasid),
      global: getField(words, 0, D.global) !== 0,
      ...deviceTlbRange(getField(words, 0, D.frame), getField(words, 0, D.size) !== 0),
    });
    return isDone ? "done" : "time-out";
  }

  /** § 6.5.2.7 */
  #interruptEntries(words: Uint32Array): CommandResult {
    const D = VTD_INTERRUPT_ENTRY_CACHE_DESCRIPTOR;
    const { interrupts } = this.#parts;
    const order = getField(words, 0, D.indexMask);
    if (getField(words, 0, D.granularity) === 0) interrupts.invalidate();
    else if (order > 15) return "reserved";
    else interrupts.invalidate(getField(words, 0, D.index), order);
    return "done";
  }

  /** § 6.5.2.8. Everything before it is done already: the unit executes in order. */
  #wait(words: Uint32Array): CommandResult {
    const D = VTD_WAIT_DESCRIPTOR;
    if (getField(words, 0, D.statusWrite) !== 0) {
      const [, data = 0, low = 0, high = 0] = words;
      const bytes = Uint8Array.of(data, data >>> 8, data >>> 16, data >>> 24);
      const pfn = (high & 0xf_ffff) * 0x10_0000 + (low >>> 12);
      this.#parts.memory.write(pfn, low & 0xffc, bytes);
    }
    if (getField(words, 0, D.interrupt) !== 0) this.#parts.onComplete();
    return "done";
  }

  /** § 7.7.1 */
  #pageGroupResponse(words: Uint32Array): CommandResult {
    const D = VTD_PAGE_GROUP_RESPONSE_DESCRIPTOR;
    const hasPasid = getField(words, 0, D.pasidPresent) !== 0;
    this.#parts.ports.answerPageGroup({
      requester: getField(words, 0, D.requesterId),
      pasid: hasPasid ? getField(words, 0, D.pasid) : undefined,
      groupIndex: getField(words, 0, D.groupIndex),
      code: getField(words, 0, D.responseCode),
    });
    return "done";
  }
}
