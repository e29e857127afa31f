/** The PCI Express capability from text. PCIe 6 § 7.5.3. */
import { PortType } from "../../../pcie/index.js";
import type { CapabilityText } from "./capability-text.js";
import {
  addField,
  type FlagTable,
  flag,
  flagWord,
  numberAfter,
  type RegisterWriter,
  type Word,
} from "./registers.js";

/** The more special names first: each is searched in the title. */
const TYPES: readonly (readonly [string, number])[] = [
  ["Root Complex Integrated Endpoint", PortType.RcIntegratedEndpoint],
  ["Root Complex Event Collector", PortType.RcEventCollector],
  ["PCI/PCI-X to PCI-Express Bridge", PortType.PciToPcieBridge],
  ["PCI-Express to PCI/PCI-X Bridge", PortType.PcieToPciBridge],
  ["PCI/PCI-X Bridge", PortType.PcieToPciBridge],
  ["PCI to PCI-Express Bridge", PortType.PciToPcieBridge],
  ["PCI-Express to PCI Bridge", PortType.PcieToPciBridge],
  ["Legacy Endpoint", PortType.LegacyEndpoint],
  ["Root Port", PortType.RootPort],
  ["Upstream Port", PortType.UpstreamPort],
  ["Downstream Port", PortType.DownstreamPort],
  ["Endpoint", PortType.Endpoint],
];

export function putExpress(out: RegisterWriter, capability: CapabilityText): void {
  const { offset: at, title } = capability;
  const version = /\(v(\d{1,2})\)/.exec(title)?.[1];
  const type = portTypeOf(title);
  const word = flagWord(title, [["Slot", 8]]);
  addField(word, version === undefined ? undefined : Number(version), 0, 0xf);
  addField(word, type, 4, 0xf);
  const msi = numberAfter(title, "MSI ", 16) ?? numberAfter(title, "IntMsgNum ", 10);
  addField(word, msi, 9, 0x1f);
  if (version === undefined) word.value |= 2;
  if (type === undefined) out.putOpen(at + 2, word.value & 0xff).putOpen(at + 3, word.value >>> 8);
  else out.put(at + 2, 2, word.value, word.decided);
  const { registers } = capability;
  putDevice(out, at, registers.get("DevCap"), registers.get("DevCtl"), type);
  const port = numberAfter(registers.get("LnkCap") ?? "", "Port #", 10);
  if (port !== undefined) out.put(at + 0x0f, 1, port, 0xff);
  putSlot(out, at, registers.get("SltCap"));
  putDevice2(out, at, registers.get("DevCap2"), registers.get("DevCtl2"));
}

export function portTypeOf(title: string): number | undefined {
  for (const [name, type] of TYPES) if (title.includes(name)) return type;
  return numberAfter(title, "Unknown type ", 10);
}

const DEVCAP: FlagTable = [
  ["ExtTag", 5],
  ["AttnBtn", 12],
  ["AttnInd", 13],
  ["PwrInd", 14],
  ["RBE", 15],
  ["FLReset", 28],
];
const DEVCTL: FlagTable = [
  ["CorrErr", 0],
  ["NonFatalErr", 1],
  ["FatalErr", 2],
  ["UnsupReq", 3],
  ["RlxdOrd", 4],
  ["ExtTag", 8],
  ["PhantFunc", 9],
  ["AuxPwr", 10],
  ["NoSnoop", 11],
];

const FLR = 1 << 28;

function putDevice(
  out: RegisterWriter,
  at: number,
  capabilities: string | undefined,
  control: string | undefined,
  type: number | undefined,
): void {
  if (capabilities !== undefined) {
    const word = flagWord(capabilities, DEVCAP);
    addField(word, payloadCode(capabilities, "MaxPayload "), 0, 7);
    const functions = numberAfter(capabilities, "PhantFunc ", 10);
    // Printed as the number of additional functions: 2^bits - 1.
    addField(word, functions === undefined ? undefined : Math.log2(functions + 1) | 0, 3, 3);
    if (type === PortType.Endpoint || type === PortType.LegacyEndpoint)
      putLatencies(word, capabilities);
    out.put(at + 4, 2, word.value, word.decided).putOpen(at + 6, 0);
    // The reset bit is printed for endpoints only.
    if ((word.decided & FLR) !== 0) out.put(at + 7, 1, word.value >>> 24, word.decided >>> 24);
  }
  if (control !== undefined) {
    const word = flagWord(control, DEVCTL);
    addField(word, payloadCode(control, "MaxPayload "), 5, 7);
    addField(word, payloadCode(control, "MaxReadReq "), 12, 7);
    const retry = flag(control, "BrConfRtry");
    if (retry !== undefined) addField(word, retry ? 1 : 0, 15, 1);
    out.put(at + 8, 2, word.value, word.decided & ~0x060f);
  }
}

function payloadCode(text: string, label: string): number | undefined {
  const bytes = numberAfter(text, label, 10);
  if (bytes === undefined || bytes < 128 || bytes > 16384) return undefined;
  return Math.log2(bytes / 128) | 0;
}

const L0S = ["<64ns", "<128ns", "<256ns", "<512ns", "<1us", "<2us", "<4us", "unlimited"];
const L1 = ["<1us", "<2us", "<4us", "<8us", "<16us", "<32us", "<64us", "unlimited"];

function putLatencies(word: Word, text: string): void {
  const m = /Latency L0s (\S{1,10}), L1 (\S{1,10})/.exec(text);
  const l0s = m === null ? -1 : L0S.indexOf(m[1] as string);
  const l1 = m === null ? -1 : L1.indexOf(m[2] as string);
  if (l0s >= 0) addField(word, l0s, 6, 7);
  if (l1 >= 0) addField(word, l1, 9, 7);
}

const SLTCAP: FlagTable = [
  ["AttnBtn", 0],
  ["PwrCtrl", 1],
  ["MRL", 2],
  ["AttnInd", 3],
  ["PwrInd", 4],
  ["Surprise", 5],
  ["HotPlug", 6],
  ["Interlock", 17],
  ["NoCompl", 18],
];

function putSlot(out: RegisterWriter, at: number, text: string | undefined): void {
  if (text === undefined) return;
  const word = flagWord(text, SLTCAP);
  addField(word, numberAfter(text, "Slot #", 10), 19, 0x1fff);
  out.put(at + 0x14, 4, word.value, word.decided);
}

const DEVCAP2: FlagTable = [
  ["TimeoutDis", 4],
  ["ARIFwd", 5],
  ["Routing", 6],
  ["32bit", 7],
  ["64bit", 8],
  ["128bitCAS", 9],
  ["NROPrPrP", 10],
  ["LTR", 11],
  ["10BitTagComp", 16],
  ["10BitTagReq", 17],
  ["ExtFmt", 20],
  ["EETLPPrefix", 21],
  ["EmergencyPowerReductionInit", 26],
  ["FRS", 31],
];
const RANGES: readonly (readonly [string, number])[] = [
  ["Range ABCD", 0xf],
  ["Range BCD", 0xe],
  ["Range ABC", 0x7],
  ["Range BC", 0x6],
  ["Range AB", 0x3],
  ["Range B", 0x2],
  ["Range A", 0x1],
  ["Completion Timeout: Not Supported", 0x0],
];
const DEVCTL2: FlagTable = [
  ["TimeoutDis", 4],
  ["ARIFwd", 5],
  ["ReqEn", 6],
  ["EgressBlck", 7],
  ["LTR", 10],
  ["EETLPPrefixBlk", 15],
];

/**
 * Each byte becomes known only when the text states the bit of it that matters here: versions of
 * lspci before 3.6 print neither end-to-end prefixes nor their blocking.
 */
function putDevice2(
  out: RegisterWriter,
  at: number,
  capabilities: string | undefined,
  control: string | undefined,
): void {
  if (capabilities !== undefined) {
    const word = flagWord(capabilities, DEVCAP2);
    addField(word, RANGES.find(([name]) => capabilities.includes(name))?.[1], 0, 0xf);
    const prefixes = numberAfter(capabilities, "MaxEETLPPrefixes ", 10);
    if ((word.value & (1 << 21)) !== 0) addField(word, prefixes, 22, 3);
    const part = (byte: number): [number, number] => [
      (word.value >>> (8 * byte)) & 0xff,
      (word.decided >>> (8 * byte)) & 0xff,
    ];
    // ARI forwarding is printed for the ports that can have it.
    if ((word.decided & (1 << 5)) !== 0) out.put(at + 0x24, 1, ...part(0));
    else out.putOpen(at + 0x24, ...part(0));
    out.put(at + 0x25, 1, ...part(1));
    if ((word.decided & (1 << 21)) !== 0) out.put(at + 0x26, 1, ...part(2));
    out.putOpen(at + 0x27, ...part(3));
  }
  if (control !== undefined) {
    const word = flagWord(control, DEVCTL2);
    if ((word.decided & (1 << 15)) !== 0) out.put(at + 0x28, 2, word.value, word.decided & ~0x400);
    else out.put(at + 0x28, 1, word.value, word.decided);
  }
}
