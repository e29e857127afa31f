/** MSI and MSI-X from text. PCIe 6 § 7.7.1, § 7.7.2. */
import type { CapabilityText } from "./capability-text.js";
import { addField, flagWord, numberAfter, type RegisterWriter } from "./registers.js";

/** `MSI-X: Enable+ Count=5 Masked-` */
export function putMsiX(out: RegisterWriter, { offset, title }: CapabilityText): void {
  const count = numberAfter(title, "Count=", 10);
  if (count === undefined || count < 1 || count > 2048) return;
  const word = flagWord(title, [
    ["Masked", 14],
    ["Enable", 15],
  ]);
  addField(word, count - 1, 0, 0x7ff);
  // Drivers switch interrupts between two runs.
  out.put(offset + 2, 2, word.value, word.decided & 0x7ff);
}

/** `MSI: Enable+ Count=1/8 Maskable- 64bit+` */
export function putMsi(out: RegisterWriter, { offset, title }: CapabilityText): void {
  const m = /Count=(\d{1,2})\/(\d{1,2})/.exec(title);
  const word = flagWord(title, [
    ["Enable", 0],
    ["64bit", 7],
    ["Maskable", 8],
  ]);
  addField(word, m === null ? undefined : Math.log2(Number(m[2])) | 0, 1, 7);
  addField(word, m === null ? undefined : Math.log2(Number(m[1])) | 0, 4, 7);
  out.put(offset + 2, 2, word.value, word.decided & 0x18e);
}
