/**
 * Kernel logs: dmesg, serial consoles, journald and syslog files, in any mixture of prefixes.
 *
 * Taken from a log: kernel, command line, which ACPI tables exist, the IOMMU units with their
 * registers, and the groups. Where a device is put into groups more than once (removed and scanned
 * again) the later line holds. Whether an IOMMU is in use is read from what the IOMMU drivers say,
 * never from group lines: recorded groups must not feed the calculation.
 */
import type { HostFacts } from "../../isolation/index.js";
import { type Bdf, parseBdf } from "../../units/index.js";
import type { CapturedFunction, CapturePart, Note, RecordedGroups } from "../capture.js";
import { LogIommus } from "./dmesg-iommu.js";
import { groupsFrom, unknownFunction } from "./groups-list.js";
import { architectureOf, releaseIn } from "./kernel.js";
import { joinWrapped, type TextLines } from "./text.js";

const ADDING =
  /(?:([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): Adding to iommu group|Adding device ([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]) to group) (\d{1,6})\b/i;
const REMOVING =
  /([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): Removing from iommu group (\d{1,6})/i;
const TIME = /\[ *(\d+\.\d+)\]/;
const FOUND =
  /pci ([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): \[([0-9a-f]{4}):([0-9a-f]{4})\] type [0-9a-f]{2} class 0x([0-9a-f]{6})/i;
const COMMAND_LINE = /(?:^|[\s\]])(?:Kernel command line|Command line): (.*)$/;
const ACPI_TABLE = /ACPI: ([A-Z][A-Z0-9]{3}) 0x[0-9A-Fa-f]{8,16} [0-9A-Fa-f]{6}\b/;
const VMD_BUS =
  /vmd ([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): PCI host bridge to bus ([0-9a-f]{5,8}):/i;
const UNTRUSTED =
  /pci ([0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]): marking as (untrusted|external)/i;

/** Cheap sniff for log lines that matter here. */
export function looksLikeDmesg(head: string): boolean {
  return (
    /Adding (?:to iommu group \d|device [0-9a-f:.]{7,16} to group \d)/.test(head) ||
    /(?:^|[\s\]>])Linux version \d+\.\d+/m.test(head) ||
    /^(?:<\d{1,2}>)?\[ *\d+\.\d{6}\]/m.test(head) ||
    /^(?:<\d{1,2}>)?\[(?:[A-Z][a-z]{2} ?\d| {2}\+\d|\p{L}{2,3},? )/mu.test(head) ||
    /^\S.{0,60} kernel: /m.test(head)
  );
}

/** Undefined when no line of the log says anything of use. */
export function parseDmesg(input: TextLines): CapturePart | undefined {
  const text = joinWrapped(input, startsLogLine);
  let boot = new BootLog(text);
  const boots = [boot];
  for (let i = 0; i < text.length; i++) {
    const line = text.lines[i] ?? "";
    if (boot.kernel !== undefined && releaseIn(line) !== undefined) {
      boot = new BootLog(text);
      boots.push(boot);
    }
    boot.line(line, i);
  }
  return chooseBoot(boots).part(boots.length);
}

/** The last boot that is no crash kernel. Which boot counts must not depend on group lines. */
function chooseBoot(boots: readonly BootLog[]): BootLog {
  const ordinary = boots.filter((b) => !b.isCrashKernel);
  const chosen = ordinary[ordinary.length - 1] ?? boots[boots.length - 1];
  if (chosen === undefined) throw new Error("a log has at least one boot");
  return chosen;
}

const LOG_LINE =
  /^(?:<\d{1,2}>)?\[|^[A-Z][a-z]{2} +\d|^\d{4}-\d\d-\d\d|^\S+ \S+: |^(?:iommu: )?Adding /;

function startsLogLine(line: string): boolean {
  return LOG_LINE.test(line);
}

/** One boot of a log. */
class BootLog {
  readonly #text: TextLines;
  readonly #groups = new Map<Bdf, { id: number; line: number }>();
  readonly #functions = new Map<Bdf, CapturedFunction>();
  readonly #notes: Note[] = [];
  readonly #acpi = new Set<string>();
  readonly #iommus = new LogIommus();
  readonly #domains = new Map<number, Bdf>();
  #moved = 0;
  #restarted = false;
  #lastGroupTime = Number.NEGATIVE_INFINITY;
  #useful = false;
  kernel: string | undefined;
  #architecture: HostFacts["architecture"];
  #commandLine: string | undefined;
  #firmware: HostFacts["firmware"];

  constructor(text: TextLines) {
    this.#text = text;
  }

  line(line: string, index: number): void {
    if (line.includes("roup ") && this.#groupLine(line, index)) return;
    if (line.includes("] type ")) this.#foundFunction(line, index);
    if (line.includes("ommand line: ")) this.#commandLineFrom(line);
    else if (line.includes("Linux version ")) this.#kernelFrom(line);
    else if (line.includes("ACPI: ")) this.#acpiFrom(line);
    else if (line.includes("marking as ")) this.#hint(line, index);
    else if (line.startsWith("vmd ") || line.includes(" vmd ")) this.#vmd(line);
    else if (this.#iommus.line(line)) this.#useful = true;
    this.#platformFrom(line);
  }

  #groupLine(line: string, index: number): boolean {
    const m = ADDING.exec(line);
    if (m !== null) {
      const bdf = parseBdf(m[1] ?? m[2] ?? "");
      if (bdf === undefined) return false;
      const id = Number(m[3]);
      const time = Number(TIME.exec(line)?.[1] ?? Number.NaN);
      const before = this.#groups.get(bdf);
      const jumpedBack = time < this.#lastGroupTime - 1;
      this.#lastGroupTime = time;
      if (before !== undefined && jumpedBack) {
        // A known device after time jumped back: a second log begins, and with it other groups.
        this.#restarted = true;
        this.#groups.clear();
      } else if (before !== undefined && before.id !== id) this.#moved++;
      this.#groups.set(bdf, { id, line: index });
      if (!this.#functions.has(bdf))
        this.#functions.set(bdf, unknownFunction(bdf, this.#text.place(index)));
      this.#useful = true;
      return true;
    }
    const removed = REMOVING.exec(line);
    const gone = removed === null ? undefined : parseBdf(removed[1] ?? "");
    if (gone !== undefined) {
      this.#groups.delete(gone);
      return true;
    }
    return false;
  }

  #foundFunction(line: string, index: number): void {
    const m = FOUND.exec(line);
    const bdf = m === null ? undefined : parseBdf(m[1] ?? "");
    if (m === null || bdf === undefined) return;
    const ids = {
      vendor: Number.parseInt(m[2] ?? "", 16),
      device: Number.parseInt(m[3] ?? "", 16),
      classCode: Number.parseInt(m[4] ?? "", 16),
    };
    this.#functions.set(bdf, {
      ...unknownFunction(bdf, this.#text.place(index)),
      ids,
      idsFrom: "numeric",
    });
    this.#useful = true;
  }

  #commandLineFrom(line: string): void {
    const m = COMMAND_LINE.exec(line);
    if (m === null) return;
    this.#commandLine = (m[1] ?? "").trim();
    this.#useful = true;
  }

  #kernelFrom(line: string): void {
    const release = releaseIn(line);
    if (release === undefined) return;
    this.kernel = release;
    this.#architecture = architectureOf(line) ?? this.#architecture;
    this.#useful = true;
  }

  #acpiFrom(line: string): void {
    const m = ACPI_TABLE.exec(line);
    if (m === null) return;
    this.#acpi.add(m[1] ?? "");
    this.#firmware = "acpi";
    this.#useful = true;
  }

  #vmd(line: string): void {
    const m = VMD_BUS.exec(line);
    const owner = m === null ? undefined : parseBdf(m[1] ?? "");
    if (owner !== undefined) this.#domains.set(Number.parseInt(m?.[2] ?? "", 16), owner);
  }

  /** Debug messages of the PCI core about ports that lead outside and what is behind them. */
  #hint(line: string, index: number): void {
    const m = UNTRUSTED.exec(line);
    const bdf = m === null ? undefined : parseBdf(m[1] ?? "");
    if (bdf === undefined) return;
    const known = this.#functions.get(bdf) ?? unknownFunction(bdf, this.#text.place(index));
    const flag =
      m?.[2]?.toLowerCase() === "untrusted" ? { untrusted: true } : { externalFacing: true };
    this.#functions.set(bdf, { ...known, ...flag });
  }

  #platformFrom(line: string): void {
    if (this.#architecture !== undefined && this.#firmware !== undefined) return;
    if (line.includes("BIOS-e820") || line.includes("x86/fpu")) this.#architecture ??= "x86";
    else if (line.includes("Booting Linux on physical CPU") || line.includes("psci: ")) {
      this.#architecture ??= "arm64";
    } else if (line.includes("SBI specification")) this.#architecture ??= "riscv64";
    else if (/(?:^|\s)Machine model: /.test(line)) this.#firmware ??= "device-tree";
  }

  get isCrashKernel(): boolean {
    return /(?:^|\s)elfcorehdr=/.test(this.#commandLine ?? "");
  }

  part(boots: number): CapturePart | undefined {
    if (!this.#useful) return undefined;
    const place = { file: this.#text.file };
    const note = (severity: Note["severity"], text: string): void => {
      this.#notes.push({ severity, text, place });
    };
    if (boots > 1) {
      note("info", `the log holds ${boots} boots; the last that is no crash kernel is used`);
    }
    if (this.#restarted) {
      note("conflict", "the log lists groups of more than one boot; the last ones are used");
    } else if (this.#moved > 0) {
      note("info", `${this.#moved} devices changed their group in this log; the last line counts`);
    }
    return {
      kind: "dmesg",
      place,
      facts: this.#facts(),
      functions: [...this.#functions.values()],
      ...this.#recorded(),
      notes: this.#notes,
    };
  }

  #recorded(): { recorded?: RecordedGroups } {
    if (this.#groups.size === 0) return {};
    let first = Number.POSITIVE_INFINITY;
    const pairs: [number, Bdf][] = [];
    for (const [bdf, { id, line }] of this.#groups) {
      pairs.push([id, bdf]);
      first = Math.min(first, line);
    }
    return {
      recorded: { from: "dmesg", place: this.#text.place(first), groups: groupsFrom(pairs) },
    };
  }

  #facts(): HostFacts {
    const { units, reserved, inUse } = this.#iommus;
    // A log that shows the root table and the tables every host has shows all of them.
    const complete = this.#acpi.has("APIC") && (this.#acpi.has("XSDT") || this.#acpi.has("RSDT"));
    return {
      ...(this.kernel !== undefined && { kernel: this.kernel }),
      ...(this.#architecture !== undefined && { architecture: this.#architecture }),
      ...(this.#commandLine !== undefined && { commandLine: this.#commandLine }),
      ...(this.#firmware !== undefined && { firmware: this.#firmware }),
      ...(inUse !== undefined && { iommuInUse: inUse }),
      ...(this.#acpi.size > 0 && { acpiTables: { present: [...this.#acpi], complete } }),
      ...(units.length > 0 && { iommus: units }),
      ...(reserved.length > 0 && { loggedReserved: reserved }),
      ...(this.#domains.size > 0 && {
        childDomains: [...this.#domains].map(([segment, owner]) => ({ segment, owner })),
      }),
    };
  }
}
