/** Designated vendor-specific capabilities: PCIe 6 § 7.9.6; those of CXL: CXL 3.1 § 8.1. */
import { bitOf } from "../../units/index.js";
import type { ConfigSpace } from "../config-space.js";
import { listCapabilityEntries } from "./entries.js";
import { ExtendedCapabilityId, readCapabilities } from "./list.js";

export const CXL_VENDOR = 0x1e98;
/** DVSEC ids under the CXL vendor id. */
export const CxlDvsec = {
  Device: 0x0000,
  NonCxlFunctionMap: 0x0002,
  ExtensionsForPorts: 0x0003,
  GpfForPorts: 0x0004,
  GpfForDevices: 0x0005,
  FlexBus: 0x0007,
  RegisterLocator: 0x0008,
  MultiLogicalDevice: 0x0009,
  TestCapability: 0x000a,
} as const;

export interface DvsecFacts {
  readonly offset: number;
  readonly vendor: number | undefined;
  readonly id: number | undefined;
  readonly revision: number | undefined;
  /** Bytes, header included. */
  readonly length: number | undefined;
}

/** The CXL device DVSEC's capability word. A cache-capable device needs ATS to work coherently. */
export interface CxlDeviceFacts {
  readonly offset: number;
  readonly cache: boolean | undefined;
  readonly io: boolean | undefined;
  readonly memory: boolean | undefined;
}

/** Vendor, id and length of the DVSEC at `offset`. */
export function readDvsec(config: ConfigSpace, offset: number): DvsecFacts {
  const header1 = config.knownU32(offset + 4);
  return {
    offset,
    vendor: header1 === undefined ? undefined : header1 & 0xffff,
    revision: header1 === undefined ? undefined : (header1 >>> 16) & 0xf,
    length: header1 === undefined ? undefined : header1 >>> 20,
    id: config.knownU16(offset + 8),
  };
}

/** `offset` is that of the CXL device DVSEC. */
export function readCxlDevice(config: ConfigSpace, offset: number): CxlDeviceFacts {
  const capability = config.knownU16(offset + 0x0a);
  return {
    offset,
    cache: bitOf(capability, 0),
    io: bitOf(capability, 1),
    memory: bitOf(capability, 2),
  };
}

/** The CXL device facts of a function; null when it is no CXL device, undefined when not known. */
export function findCxlDevice(config: ConfigSpace): CxlDeviceFacts | null | undefined {
  const entries = listCapabilityEntries(config);
  for (const { extended, id, offset } of entries) {
    if (!extended || id !== ExtendedCapabilityId.Dvsec) continue;
    const dvsec = readDvsec(config, offset);
    if (dvsec.vendor === undefined || dvsec.id === undefined) return undefined;
    if (dvsec.vendor === CXL_VENDOR && dvsec.id === CxlDvsec.Device) {
      return readCxlDevice(config, offset);
    }
  }
  const whole = config.extent === 4096 && readCapabilities(config).extended?.complete === true;
  return whole ? null : undefined;
}
