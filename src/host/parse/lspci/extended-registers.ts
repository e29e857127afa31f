/**
 * ACS, ATS, PRI, PASID, ARI and SR-IOV from text. PCIe 6 § 7.7.11, § 10.5, § 7.8.9, § 7.8.8, §
 * 9.3.3.
 */
import { ExtendedCapabilityId } from "../../../pcie/index.js";
import { putRegion, readRegion } from "./address-registers.js";
import type { CapabilityText } from "./capability-text.js";
import {
  addField,
  type FlagTable,
  flagWord,
  numberAfter,
  type RegisterWriter,
} from "./registers.js";

type Put = (out: RegisterWriter, capability: CapabilityText) => void;

export const EXTENDED_REGISTERS: ReadonlyMap<number, Put> = new Map<number, Put>([
  [ExtendedCapabilityId.Acs, putAcs],
  [ExtendedCapabilityId.Ari, putAri],
  [ExtendedCapabilityId.Ats, putAts],
  [ExtendedCapabilityId.Pri, putPri],
  [ExtendedCapabilityId.Pasid, putPasid],
  [ExtendedCapabilityId.SrIov, putSrIov],
]);

const ACS: FlagTable = [
  ["SrcValid", 0],
  ["TransBlk", 1],
  ["ReqRedir", 2],
  ["CmpltRedir", 3],
  ["UpstreamFwd", 4],
  ["EgressCtrl", 5],
  ["DirectTrans", 6],
];

/** The enhanced bits and the egress vector are not printed; the vector's size reads as 256. */
function putAcs(out: RegisterWriter, { offset, registers }: CapabilityText): void {
  const capability = registers.get("ACSCap");
  const control = registers.get("ACSCtl");
  if (capability !== undefined) putFlags(out, offset + 4, capability, ACS);
  if (control !== undefined) putFlags(out, offset + 6, control, ACS);
}

function putFlags(out: RegisterWriter, at: number, text: string, table: FlagTable): void {
  const word = flagWord(text, table);
  if (word.decided !== 0) out.put(at, 2, word.value, word.decided);
}

function putAri(out: RegisterWriter, { offset, registers }: CapabilityText): void {
  const table: FlagTable = [
    ["MFVC", 0],
    ["ACS", 1],
  ];
  const capability = registers.get("ARICap");
  if (capability !== undefined) {
    const word = flagWord(capability, table);
    addField(word, numberAfter(capability, "Next Function: ", 10), 8, 0xff);
    out.put(offset + 4, 2, word.value, word.decided);
  }
  const control = registers.get("ARICtl");
  if (control !== undefined) {
    const word = flagWord(control, table);
    addField(word, numberAfter(control, "Function Group: ", 10), 4, 7);
    out.put(offset + 6, 2, word.value, word.decided);
  }
}

/** Not printed by all versions. */
const PAGE_ALIGNED = 1 << 5;

function putAts(out: RegisterWriter, { offset, registers }: CapabilityText): void {
  const capability = registers.get("ATSCap");
  if (capability !== undefined) {
    const word = flagWord(capability, [["PageAligned", 5]]);
    addField(word, numberAfter(capability, "Invalidate Queue Depth: ", 16), 0, 0x1f);
    if ((word.decided & PAGE_ALIGNED) !== 0) out.put(offset + 4, 2, word.value, word.decided);
    else out.putOpen(offset + 4, word.value, word.decided);
  }
  const control = registers.get("ATSCtl");
  if (control !== undefined) {
    const word = flagWord(control, [["Enable", 15]]);
    addField(word, numberAfter(control, "Smallest Translation Unit: ", 16), 0, 0x1f);
    out.put(offset + 6, 2, word.value, word.decided);
  }
}

function putPri(out: RegisterWriter, { offset, registers }: CapabilityText): void {
  const control = registers.get("PRICtl");
  const status = registers.get("PRISta");
  const table: FlagTable = [
    ["Enable", 0],
    ["Reset", 1],
  ];
  if (control !== undefined) putFlags(out, offset + 4, control, table);
  if (status === undefined) return;
  const word = flagWord(status, [
    ["RF", 0],
    ["UPRGI", 1],
    ["Stopped", 8],
    ["PASID", 15],
  ]);
  out.put(offset + 6, 2, word.value, word.decided & 0x8100);
  const capacity = numberAfter(status, "Page Request Capacity: ", 16);
  const allocation = numberAfter(status, "Page Request Allocation: ", 16);
  if (capacity !== undefined) out.put(offset + 8, 4, capacity, 0xffffffff);
  if (allocation !== undefined) out.put(offset + 12, 4, allocation, 0xffffffff);
}

function putPasid(out: RegisterWriter, { offset, registers }: CapabilityText): void {
  const capability = registers.get("PASIDCap");
  if (capability !== undefined) {
    const word = flagWord(capability, [
      ["Exec", 1],
      ["Priv", 2],
    ]);
    // The width is printed in hex.
    addField(word, numberAfter(capability, "Max PASID Width: ", 16), 8, 0x1f);
    out.put(offset + 4, 2, word.value, word.decided);
  }
  const control = registers.get("PASIDCtl");
  const table: FlagTable = [
    ["Enable", 0],
    ["Exec", 1],
    ["Priv", 2],
  ];
  if (control !== undefined) putFlags(out, offset + 6, control, table);
}

function putSrIov(out: RegisterWriter, capability: CapabilityText): void {
  const { offset: at, registers } = capability;
  const cap = registers.get("IOVCap");
  if (cap !== undefined) {
    const word = flagWord(cap, [["Migration", 0]]);
    const message = numberAfter(cap, "Interrupt Message Number: ", 16);
    addField(word, message ?? numberAfter(cap, "IntMsgNum ", 10), 21, 0x7ff);
    out.put(at + 4, 4, word.value, word.decided);
  }
  const control = registers.get("IOVCtl");
  if (control !== undefined) {
    putFlags(out, at + 8, control, [
      ["Enable", 0],
      ["Migration", 1],
      ["Interrupt", 2],
      ["MSE", 3],
      ["ARIHierarchy", 4],
    ]);
  }
  const text = registers.get("IOVSta") ?? registers.get("") ?? "";
  const fields: readonly (readonly [string, number, 1 | 2 | 4, 10 | 16])[] = [
    ["Initial VFs: ", 0x0c, 2, 10],
    ["Total VFs: ", 0x0e, 2, 10],
    ["Number of VFs: ", 0x10, 2, 10],
    ["Function Dependency Link: ", 0x12, 1, 16],
    ["VF offset: ", 0x14, 2, 10],
    ["stride: ", 0x16, 2, 10],
    ["Device ID: ", 0x1a, 2, 16],
    ["Supported Page Size: ", 0x1c, 4, 16],
    ["System Page Size: ", 0x20, 4, 16],
  ];
  for (const [label, offset, width, base] of fields) {
    const value = numberAfter(text, label, base);
    if (value !== undefined) out.put(at + offset, width, value, 0xffffffff);
  }
  for (const line of capability.regions) {
    const region = readRegion(line);
    if (region?.index === undefined || region.index > 5) continue;
    putRegion(out, at + 0x24 + 4 * region.index, region);
  }
}
