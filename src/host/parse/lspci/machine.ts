/** `lspci -vmm`: one `Key:<tab>value` line per fact, records parted by blank lines. */
import { parseBdf } from "../../../units/index.js";
import type { TextLines } from "../text.js";
import { FunctionBlock } from "./block.js";
import { numberIn } from "./header-line.js";

const KEYS =
  "Slot Class Vendor Device SVendor SDevice Rev ProgIf PhySlot Driver Module NUMANode IOMMUGroup";
const KEY = new RegExp(`^(${KEYS.replaceAll(" ", "|")}):\\s+(\\S.*)$`);

type Fields = Map<string, string>;

export function readMachineBlocks(text: TextLines): FunctionBlock[] {
  const out: FunctionBlock[] = [];
  let record: Fields = new Map();
  let index = 0;
  const close = (): void => {
    const block = blockOf(record, index);
    if (block !== undefined) out.push(block);
    record = new Map();
  };
  for (let i = 0; i < text.length; i++) {
    const line = text.lines[i] ?? "";
    if (line === "") {
      if (record.size > 0) close();
      continue;
    }
    const m = KEY.exec(line);
    if (m === null) continue;
    const key = m[1] as string;
    if (key === "Slot" && record.size > 0) close();
    if (record.size === 0) index = i;
    // The older `-vm` calls the address "Device" too: its first line.
    const slot = key === "Device" && record.size === 0 && parseBdf(m[2] as string) !== undefined;
    record.set(slot ? "Slot" : key, m[2] as string);
  }
  if (record.size > 0) close();
  return out;
}

function blockOf(record: Fields, index: number): FunctionBlock | undefined {
  const bdf = parseBdf(record.get("Slot") ?? "");
  if (bdf === undefined) return undefined;
  const word = (key: string): string => record.get(key) ?? "";
  const plain = (key: string): string => word(key).replace(/ ?\[[0-9a-f]{4}\]$/i, "");
  const block = new FunctionBlock(
    {
      bdf,
      className: plain("Class"),
      classId: numberIn(word("Class")),
      vendor: numberIn(word("Vendor")),
      device: numberIn(word("Device")),
      subVendor: numberIn(word("SVendor")),
      subDevice: numberIn(word("SDevice")),
      name: `${plain("Vendor")} ${plain("Device")}`,
      revision: byteIn(word("Rev")) ?? 0,
      progIf: byteIn(word("ProgIf")),
    },
    index,
  );
  copy(record, "Driver", block, "Kernel driver in use");
  copy(record, "Module", block, "Kernel modules");
  copy(record, "IOMMUGroup", block, "IOMMU group");
  copy(record, "PhySlot", block, "Physical Slot");
  copy(record, "NUMANode", block, "NUMA node");
  return block;
}

function copy(record: Fields, key: string, block: FunctionBlock, property: string): void {
  const value = record.get(key);
  if (value !== undefined) block.properties.set(property, value);
}

function byteIn(word: string): number | undefined {
  return /^[0-9a-f]{2}$/i.test(word) ? Number.parseInt(word, 16) : undefined;
}
