/**
 * Lists of IOMMU groups: `GROUP n BDF` lines, the shell loops that people share ("IOMMU Group 12
 * 03:00.0 VGA …", "IOMMU Group 12:" with devices below), `n BDF` and `BDF n` tables, and listings
 * of /sys/kernel/iommu_groups.
 *
 * A file may hold several listings (before and after a change). A listing ends where prose follows
 * a blank line or where a device comes a second time; listings that share no device and no group
 * belong together. The largest listing counts, of equal ones the last, and a contradiction between
 * them is noted.
 */
import { type Bdf, formatBdf, InputError, parseBdf } from "../../units/index.js";
import type { CapturedFunction, CapturePart, Note } from "../capture.js";
import { groupsFrom, isGroupProperty, unknownFunction } from "./groups-list.js";
import { type LspciOptions, parseLspci } from "./lspci/parse.js";
import { isShellPrompt, joinWrapped, TextLines } from "./text.js";

const B = "((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\\.[0-7])";
/** Some scripts print ids and a reset mark before the address. */
const IDS = "(?:\\[([0-9a-f]{4}):([0-9a-f]{4})\\]\\s*)?(?:\\[.\\]\\s*)?";
const PREFIX = "^[\\s*|│├└─\\-]*";
/** Group and device on one line; what `lspci` says of the device may come before or after. */
const INLINE = new RegExp(
  `${PREFIX}(?:IOMMU[ _-]?)?Group[:\\s]+(\\d{1,6})\\b[:,\\s]*${IDS}${B}(?=[\\s,;]|$)(.*)$`,
  "i",
);
const HEADER = new RegExp(`${PREFIX}(?:IOMMU[ _-]?)?Group[:\\s#]+(\\d{1,6})(?:\\s*:)?$`, "i");
const MEMBER = new RegExp(`^[\\s*|│├└─\\-]+${IDS}${B}(?=[\\s,;]|$)(.*)$`, "i");
const FLAT_MEMBER = new RegExp(`^${IDS}${B}(?=[\\s,;]|$)(.*)$`, "i");
const TABLE_ID_FIRST = new RegExp(`^\\s*(\\d{1,6})[\\s,;]+${B}(?=[\\s,;]|$)(.*)$`, "i");
const TABLE_BDF_FIRST = new RegExp(`^\\s*${B}[\\s,;]+(\\d{1,6})\\s*$`, "i");
const SYSFS_PATH = new RegExp(`iommu_groups/(\\d{1,6})/devices/${B}(?=$|\\s)`, "i");
const SYSFS_HEADER = /iommu_groups\/(\d{1,6})\/devices\/?:\s*$/;
const SYSFS_LINK = new RegExp(`${B}/iommu_group -> \\S*iommu_groups/(\\d{1,6})\\s*$`, "i");
const LISTED = new RegExp(`(?:^|\\s)${B}(?: -> \\S+)?\\s*$`, "i");

const REGISTERS = /^\s*(?:Control|Flags): /;

/** Bounded blanks: the sniff must stay linear on any text. */
const SNIFF =
  /^[ \t>*|│├└─-]{0,40}(?:IOMMU[ _-]?)?Group[: \t#]{1,8}\d{1,6}(?:[ \t:]{0,8}\r?$|[:, \t]{1,40}[[0-9a-f])/im;

/** Cheap sniff for any of the forms. */
export function looksLikeGroups(head: string): boolean {
  return SNIFF.test(head) || /iommu_groups\/\d{1,6}/.test(head) || looksLikeGroupTable(head);
}

function looksLikeGroupTable(head: string): boolean {
  let hits = 0;
  for (const line of head.split("\n", 200)) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    if (!TABLE_ID_FIRST.test(line) && !TABLE_BDF_FIRST.test(line)) return hits >= 3;
    hits++;
  }
  return hits > 0;
}

interface Entry {
  readonly id: number;
  readonly bdf: Bdf;
  readonly index: number;
}

class Listing {
  readonly entries: Entry[] = [];
  readonly byDevice = new Map<Bdf, number>();
  readonly ids = new Set<number>();

  add(entry: Entry): void {
    this.entries.push(entry);
    this.byDevice.set(entry.bdf, entry.id);
    this.ids.add(entry.id);
  }

  isDisjoint(other: Listing): boolean {
    for (const bdf of other.byDevice.keys()) if (this.byDevice.has(bdf)) return false;
    for (const id of other.ids) if (this.ids.has(id)) return false;
    return true;
  }
}

/** Undefined when no line names a group with a device. */
export function parseGroups(input: TextLines, options: LspciOptions = {}): CapturePart | undefined {
  const text = joinWrapped(input, startsEntry);
  const reader = new ListReader(text, options);
  for (let i = 0; i < text.length; i++) reader.line(text.lines[i] ?? "", i);
  return reader.part();
}

/** Every form names a group or a device; most lines of an lspci listing do neither. */
const NAMES_SOMETHING = /group|[0-9a-f]:[01][0-9a-f]\.[0-7]/i;

function startsEntry(line: string): boolean {
  return (
    (NAMES_SOMETHING.test(line) && (HEADER.test(line) || MEMBER.test(line) || INLINE.test(line))) ||
    /^(?:\S+:|\/|[dl-][rwx-]{9}\b|[dl-][rwx-]{9}[. ])/.test(line) ||
    REGISTERS.test(line) ||
    isShellPrompt(line)
  );
}

/** Bounds memory: sixteen times what a segment can hold. An entry costs about 400 bytes. */
export const GROUP_ENTRY_LIMIT = 1_000_000;

class ListReader {
  readonly #text: TextLines;
  readonly #functions = new Map<Bdf, CapturedFunction>();
  #entries = 0;
  #listings: Listing[] = [];
  #current = new Listing();
  /** Entries of the group being read; they move to the listing together. */
  #block: Entry[] = [];
  #openId: number | undefined;
  #sysfsId: number | undefined;
  #openUntilBlank = false;
  /** The open group's heading has the form of lspci's own lines. */
  #likeProperty = false;
  /** Devices stand at the line start: the list lost its indentation. Undefined before the first. */
  #flat: boolean | undefined;
  /** Between the registers of an lspci listing. */
  #inRegisters = false;
  #afterBlank = true;
  readonly #shownLines: string[] = [];
  readonly #shownNumbers: number[] = [];
  readonly #options: LspciOptions;

  constructor(text: TextLines, options: LspciOptions) {
    this.#text = text;
    this.#options = options;
  }

  line(line: string, index: number): void {
    if (line.trim() === "") {
      this.#afterBlank = true;
      if (this.#openUntilBlank) this.#openId = undefined;
      return;
    }
    if (!this.#entryLine(line, index) && this.#afterBlank && !line.startsWith("#"))
      this.#endListing();
    this.#afterBlank = false;
  }

  #entryLine(line: string, index: number): boolean {
    if (this.#isRegisters(line)) return false;
    const header = HEADER.exec(line) ?? SYSFS_HEADER.exec(line);
    if (header !== null) {
      this.#endBlock();
      this.#openId = Number(header[1]);
      this.#sysfsId = line.includes("iommu_groups") ? this.#openId : undefined;
      this.#likeProperty = isGroupProperty(line);
      this.#flat = undefined;
      return true;
    }
    const path = SYSFS_PATH.exec(line);
    if (path !== null) return this.#add(path[1], path[2], index);
    const link = SYSFS_LINK.exec(line);
    if (link !== null) return this.#add(link[2], link[1], index);
    const inline = INLINE.exec(line);
    if (inline !== null) {
      const added = this.#addShown(inline[1], inline.slice(2), index);
      // Some scripts leave out the number for further devices of the group.
      this.#openId = Number(inline[1]);
      this.#openUntilBlank = true;
      return added;
    }
    const first = TABLE_ID_FIRST.exec(line);
    if (first !== null && this.#openId === undefined)
      return this.#addShown(first[1], [undefined, undefined, first[2], first[3]], index);
    const second = TABLE_BDF_FIRST.exec(line);
    if (second !== null) return this.#add(second[2], second[1], index);
    if (this.#sysfsId !== undefined) {
      const listed = LISTED.exec(line);
      if (listed !== null) return this.#add(String(this.#sysfsId), listed[1], index);
      return /^total \d+/.test(line.trim());
    }
    return this.#openId !== undefined && this.#memberLine(this.#openId, line, index);
  }

  #memberLine(id: number, line: string, index: number): boolean {
    const member = MEMBER.exec(line);
    if (member !== null) {
      this.#flat ??= false;
      return this.#addShown(String(id), member.slice(1), index);
    }
    if (this.#afterBlank) return false;
    const flat = this.#flat === false || this.#openUntilBlank ? null : FLAT_MEMBER.exec(line);
    if (flat !== null) {
      this.#flat = true;
      return this.#addShown(String(id), flat.slice(1), index);
    }
    // Text that a mailer broke off a device's line, which it joined where it was sure; in a flat
    // list it may as well be a shell prompt with a listing below.
    if (this.#flat === true) this.#endBlock();
    return true;
  }

  /**
   * The group of one function among its registers is lspci's to read: what follows it are no
   * members.
   */
  #isRegisters(line: string): boolean {
    if (REGISTERS.test(line)) this.#inRegisters = true;
    if (!this.#inRegisters || !isGroupProperty(line)) return false;
    this.#inRegisters = false;
    return this.#openId === undefined || !this.#likeProperty;
  }

  #addShown(
    id: string | undefined,
    [vendor, device, bdfText, tail]: readonly (string | undefined)[],
    index: number,
  ): boolean {
    if (!this.#add(id, bdfText, index)) return false;
    const bdf = parseBdf(bdfText ?? "");
    if (bdf === undefined || (tail ?? "").trim() === "") return true;
    if (vendor !== undefined && device !== undefined) {
      const ids = { vendor: Number.parseInt(vendor, 16), device: Number.parseInt(device, 16) };
      const known = unknownFunction(bdf, this.#text.place(index));
      this.#functions.set(bdf, { ...known, ids, idsFrom: "numeric" });
    }
    this.#shownLines.push(`${formatBdf(bdf)} ${(tail ?? "").trim()}`);
    this.#shownNumbers.push(this.#text.numbers[index] ?? 0);
    return true;
  }

  /** What the listing shows after an address is a line of lspci. */
  #readShown(): void {
    const lines = this.#shownLines;
    const widths = lines.map((l) => l.length);
    const text = new TextLines(this.#text.file, lines, this.#shownNumbers, widths, new Set());
    for (const part of parseLspci(text, this.#options)) {
      for (const f of part.functions ?? []) {
        const known = this.#functions.get(f.bdf);
        const ids = known?.idsFrom === "numeric" ? known.ids : undefined;
        this.#functions.set(f.bdf, ids === undefined ? f : { ...f, ids: { ...f.ids, ...ids } });
      }
    }
  }

  #add(idText: string | undefined, bdfText: string | undefined, index: number): boolean {
    const bdf = parseBdf(bdfText ?? "");
    const id = Number(idText);
    if (bdf === undefined || !Number.isInteger(id)) return false;
    if (this.#block.length > 0 && this.#block[0]?.id !== id) this.#endBlock();
    if (++this.#entries > GROUP_ENTRY_LIMIT) {
      throw new InputError(
        "the list of groups is too long",
        this.#text.place(index),
        `at most ${GROUP_ENTRY_LIMIT} entries`,
      );
    }
    this.#block.push({ id, bdf, index });
    if (!this.#functions.has(bdf)) {
      this.#functions.set(bdf, unknownFunction(bdf, this.#text.place(index)));
    }
    return true;
  }

  #endBlock(): void {
    const block = this.#block;
    this.#block = [];
    this.#openId = undefined;
    this.#openUntilBlank = false;
    this.#sysfsId = undefined;
    if (block.some((e) => this.#current.byDevice.has(e.bdf))) this.#closeListing();
    for (const entry of block) this.#current.add(entry);
  }

  #endListing(): void {
    this.#endBlock();
    this.#closeListing();
  }

  #closeListing(): void {
    if (this.#current.entries.length === 0) return;
    this.#listings.push(this.#current);
    this.#current = new Listing();
  }

  part(): CapturePart | undefined {
    this.#endListing();
    this.#readShown();
    const listings = joinDisjoint(this.#listings);
    const chosen = listings.reduce<Listing | undefined>(
      (best, l) => (best === undefined || l.entries.length >= best.entries.length ? l : best),
      undefined,
    );
    if (chosen === undefined) return undefined;
    const notes: Note[] = [];
    const differing = listings.filter((l) => l !== chosen && !samePartition(l, chosen));
    const place = this.#text.place(chosen.entries[0]?.index ?? 0);
    if (differing.length > 0) {
      const lines = differing.map((l) => this.#text.numbers[l.entries[0]?.index ?? 0]).join(", ");
      const text =
        `the file lists groups ${listings.length} times and they differ; ` +
        `the listing from line ${place.line} is used, not the one from line ${lines}`;
      notes.push({ severity: "conflict", text, place });
    }
    return {
      kind: "group-list",
      place: { file: this.#text.file },
      functions: [...this.#functions.values()],
      recorded: {
        from: "group-list",
        place,
        groups: groupsFrom(chosen.entries.map((e) => [e.id, e.bdf] as const)),
      },
      notes,
      ...(differing.length > 0 && { contradictsItself: true }),
    };
  }
}

function joinDisjoint(listings: readonly Listing[]): Listing[] {
  const out: Listing[] = [];
  for (const listing of listings) {
    const last = out[out.length - 1];
    if (last?.isDisjoint(listing)) for (const entry of listing.entries) last.add(entry);
    else out.push(listing);
  }
  return out;
}

/** Equal on the devices that both list, whatever the numbers are. */
function samePartition(a: Listing, b: Listing): boolean {
  const there = new Map<number, number>();
  const back = new Map<number, number>();
  for (const [bdf, x] of a.byDevice) {
    const y = b.byDevice.get(bdf);
    if (y === undefined) continue;
    if ((there.get(x) ?? y) !== y || (back.get(y) ?? x) !== x) return false;
    there.set(x, y);
    back.set(y, x);
  }
  return true;
}
