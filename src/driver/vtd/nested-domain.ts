/**
 * VtdNestedDomain: a stage-1 table in a user's memory, over a paging domain as stage 2.
 *
 * Data formats are those of Linux (include/uapi/linux/iommufd.h): allocation `iommu_hwpt_vtd_s1`,
 * invalidation `iommu_hwpt_vtd_s1_invalidate`.
 */
import { UapiError } from "../../abi/index.js";
import {
  buildWords,
  VTD_PASID_ENTRY,
  VtdPasidTranslation,
  VtdStage1Mode,
} from "../../formats/index.js";
import {
  type DriverData,
  dataLength,
  type InvalidationEntries,
  type NestedDomain,
} from "../driver-port.js";
import { type DomainTag, forgetInDevice, forgetPages, type VtdDomain } from "./attachment.js";
import type { VtdPagingDomain } from "./paging-domain.js";
import type { VtdUnit } from "./unit.js";

/** IOMMU_HWPT_DATA_VTD_S1. */
export const HWPT_DATA_VTD_S1 = 1;
/** IOMMU_HWPT_INVALIDATE_DATA_VTD_S1. */
export const INVALIDATE_DATA_VTD_S1 = 0;
const DATA_BYTES = 24;
const ENTRY_BYTES = 24;

const Flag = { supervisorRequests: 1n, extendedAccessed: 2n, writeProtect: 4n } as const;
const INVALIDATE_LEAF = 1;
const ALL = (1n << 64n) - 1n;
const FRAME_LIMIT = 2 ** 52;

interface Stage1 {
  readonly table: number;
  readonly levels: 4 | 5;
  readonly supervisorRequests: boolean;
  readonly extendedAccessed: boolean;
  readonly writeProtect: boolean;
}

/** A user's stage-1 table, attached like any domain. */
export class VtdNestedDomain implements NestedDomain, VtdDomain {
  readonly kind = "nested";
  readonly label: string;
  readonly instance: VtdUnit;
  readonly parent: VtdPagingDomain;
  readonly translation = "nested";
  readonly tags = new Map<VtdUnit, DomainTag>();
  readonly #stage1: Stage1;
  #freed = false;

  /** @throws UapiError EOPNOTSUPP, EINVAL as Linux intel_iommu_domain_alloc_nested(). */
  constructor(unit: VtdUnit, parent: VtdPagingDomain, label: string, data: DriverData) {
    this.label = label;
    this.instance = unit;
    this.parent = parent;
    this.#stage1 = readStage1(unit, data);
    parent.children.add(this);
  }

  readonly invalidate = (type: number, entries: InvalidationEntries): void => {
    if (type !== INVALIDATE_DATA_VTD_S1) {
      throw new UapiError("EINVAL", "VT-d knows no invalidation data of this type");
    }
    if (entries.count > 0 && entries.entryBytes !== ENTRY_BYTES) {
      throw new UapiError("EINVAL", `an invalidation entry has ${ENTRY_BYTES} bytes`);
    }
    try {
      for (; entries.done < entries.count; entries.done++) {
        this.#invalidateOne(entries.entry(entries.done));
      }
    } finally {
      for (const unit of this.tags.keys()) unit.queue.submit();
    }
  };

  /** @throws Error when it is attached: a defect of the caller. */
  free(): void {
    if (this.tags.size > 0) throw new Error(`domain "${this.label}" is freed while in use`);
    if (this.#freed) return;
    this.#freed = true;
    this.parent.children.delete(this);
  }

  row(unit: VtdUnit, domainId: number, _deviceTlb: boolean): Uint32Array {
    const { table, levels, supervisorRequests, extendedAccessed, writeProtect } = this.#stage1;
    return buildWords(VTD_PASID_ENTRY, 16, {
      present: true,
      translationType: VtdPasidTranslation.nested,
      addressWidth: this.parent.levels - 2,
      stage2AccessedDirty: this.parent.isTracking,
      stage2Table: this.parent.root,
      domainId,
      pageWalkSnoop: unit.capabilities.pageWalkCoherency,
      supervisorRequestEnable: supervisorRequests,
      extendedAccessedEnable: extendedAccessed,
      writeProtectEnable: writeProtect,
      stage1Mode: levels === 5 ? VtdStage1Mode.levels5 : VtdStage1Mode.levels4,
      stage1Table: table,
    });
  }

  #invalidateOne(entry: DataView): void {
    const address = entry.getBigUint64(0, true);
    const pages = entry.getBigUint64(8, true);
    const flags = entry.getUint32(16, true);
    if ((flags & ~INVALIDATE_LEAF) !== 0 || entry.getUint32(20, true) !== 0) {
      throw new UapiError("EOPNOTSUPP", "unknown flags or reserved bits in an invalidation entry");
    }
    if ((address & 0xfffn) !== 0n || (pages === ALL && address !== 0n)) {
      throw new UapiError("EINVAL", "an invalidation must begin at a page, a full one at zero");
    }
    if (pages === 0n) return;
    const leafOnly = (flags & INVALIDATE_LEAF) !== 0;
    const first = Number(address >> 12n);
    const last = pages === ALL ? FRAME_LIMIT - 1 : first + Number(pages) - 1;
    for (const [unit, tag] of this.tags) {
      if (pages !== ALL && last < FRAME_LIMIT) {
        forgetPages(unit, this, { first, last, leafOnly });
        continue;
      }
      for (const attachment of tag.attachments) {
        unit.queue.pasidTranslations(tag.domainId, attachment.pasid);
        forgetInDevice(attachment, undefined);
      }
    }
  }
}

function readStage1(unit: VtdUnit, data: DriverData): Stage1 {
  const caps = unit.capabilities;
  if (!unit.scalable || !caps.nested) {
    throw new UapiError("EOPNOTSUPP", "the unit cannot nest translations");
  }
  if (data.type !== HWPT_DATA_VTD_S1) {
    throw new UapiError("EOPNOTSUPP", "a VT-d unit takes nested tables of type VTD_S1 only");
  }
  if (dataLength(data) !== DATA_BYTES) {
    throw new UapiError("EINVAL", `the data of a VT-d stage-1 table have ${DATA_BYTES} bytes`);
  }
  const { bytes } = data;
  const flags = bytes.getBigUint64(0, true);
  const address = bytes.getBigUint64(8, true);
  const width = bytes.getUint32(16, true);
  const known = Flag.supervisorRequests | Flag.extendedAccessed | Flag.writeProtect;
  const needs =
    (!caps.supervisorRequests && (flags & Flag.supervisorRequests) !== 0n) ||
    (!caps.extendedAccessed && (flags & Flag.extendedAccessed) !== 0n);
  if ((flags & ~known) !== 0n || bytes.getUint32(20, true) !== 0 || needs) {
    throw new UapiError("EOPNOTSUPP", "flags that are unknown or that the unit cannot do");
  }
  if (width !== 48 && !(width === 57 && caps.stage1Levels.includes(5))) {
    throw new UapiError("EINVAL", `stage-1 tables of ${width} address bits are not supported`);
  }
  if ((address & 0xfffn) !== 0n || address >= 1n << 52n) {
    throw new UapiError("EINVAL", "the stage-1 table must be at a page below 2^52");
  }
  return {
    table: Number(address >> 12n),
    levels: width === 57 ? 5 : 4,
    supervisorRequests: (flags & Flag.supervisorRequests) !== 0n,
    extendedAccessed: (flags & Flag.extendedAccessed) !== 0n,
    writeProtect: (flags & Flag.writeProtect) !== 0n,
  };
}
