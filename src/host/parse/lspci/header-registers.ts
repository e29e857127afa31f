/**
 * Command, status, latency and interrupt lines: the common part of the header. PCIe 6 § 7.5.1.1.
 */
import {
  addField,
  type FlagTable,
  flag,
  flagWord,
  numberAfter,
  type RegisterWriter,
} from "./registers.js";

const COMMAND: FlagTable = [
  ["I/O", 0],
  ["Mem", 1],
  ["BusMaster", 2],
  ["SpecCycle", 3],
  ["MemWINV", 4],
  ["VGASnoop", 5],
  ["ParErr", 6],
  ["Stepping", 7],
  ["SERR", 8],
  ["FastB2B", 9],
  ["DisINTx", 10],
];
const STATUS: FlagTable = [
  ["Cap", 4],
  ["66MHz", 5],
  ["UDF", 6],
  ["FastB2B", 7],
];

export function putCommand(out: RegisterWriter, text: string): void {
  const word = flagWord(text, COMMAND);
  // Power management changes these between two runs; the other bits are firmware's.
  out.put(0x04, 2, word.value, word.decided & ~0x0407);
}

/** Returns whether the function has a capability list. */
export function putStatus(out: RegisterWriter, text: string): boolean | undefined {
  const word = flagWord(text, STATUS);
  const devsel = text.includes("DEVSEL=medium") ? 1 : text.includes("DEVSEL=slow") ? 2 : 0;
  if (text.includes("DEVSEL=")) addField(word, devsel, 9, 3);
  out.put(0x06, 2, word.value, word.decided);
  return flag(text, "Cap");
}

export function putLatency(out: RegisterWriter, text: string): void {
  const latency = numberAfter(text, "Latency:", 10);
  if (latency !== undefined) out.put(0x0d, 1, latency, 0xff);
  const line = numberAfter(text, "Cache Line Size:", 10);
  if (line !== undefined) out.put(0x0c, 1, line / 4, 0xff);
}

export function putInterrupt(out: RegisterWriter, text: string): void {
  const pin = /pin ([A-D])/.exec(text)?.[1];
  if (pin !== undefined) out.put(0x3d, 1, pin.charCodeAt(0) - 0x40, 0xff);
}
