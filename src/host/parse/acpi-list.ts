/** `ls /sys/firmware/acpi/tables`: which ACPI tables the host has. */
import type { CapturePart } from "../capture.js";
import type { TextLines } from "./text.js";

const NAME = /^([A-Z][A-Z0-9]{3})\d{0,3}$/;

/** Nothing but table names, the FACP among them, which every ACPI host has. */
export function looksLikeTableList(head: string): boolean {
  const words = head
    .slice(0, 4096)
    .split(/\s+/)
    .filter((w) => w !== "");
  return (
    words.length >= 2 &&
    words.includes("FACP") &&
    words.every((w) => NAME.test(w) || w === "data" || w === "dynamic")
  );
}

export function parseTableList(text: TextLines): CapturePart {
  const present = new Set<string>();
  for (const line of text.lines) {
    for (const word of line.split(/\s+/)) {
      const name = NAME.exec(word)?.[1];
      if (name !== undefined) present.add(name);
    }
  }
  return {
    kind: "sysfs",
    place: text.place(0),
    facts: { firmware: "acpi", acpiTables: { present: [...present].sort(), complete: true } },
  };
}
