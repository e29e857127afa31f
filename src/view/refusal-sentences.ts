/**
 * The sentence for each kind of evidence that a refused call gives and the analysis does not have.
 *
 * Evidence of a refusal is a record with a kind and the few fields its kind needs. A sentence says
 * what was found, never what to do, and never repeats the rule that the refusal itself states.
 */
import { type Bdf, formatSpan, type Span } from "../units/index.js";

/** The fields that sentences use; a record has those of its kind. */
interface Found {
  readonly kind: string;
  readonly at?: Bdf;
  readonly with?: Bdf | readonly Bdf[];
  readonly windows?: readonly (Span | undefined)[];
  readonly [field: string]: unknown;
}

/** Fields as words, for the sentences. */
interface Words {
  readonly at: string;
  /** "a, b and c"; empty when there are none. */
  readonly others: string;
  readonly windows: string;
  /** A field: numbers in decimal, bigints in hexadecimal, "?" when it is missing. */
  readonly of: (field: string) => string;
  /** A field in hexadecimal. */
  readonly hex: (field: string) => string;
  /** "1 page", "3 pages". */
  readonly count: (field: string, one: string) => string;
  readonly has: (field: string) => boolean;
}

type Sentence = (w: Words) => string;

const DRIVERS: Readonly<Record<string, Sentence>> = {
  "driver-bound": ({ at, of, has }) =>
    has("driver") ? `${at} is bound to ${of("driver")}` : `${at} is bound to no driver`,
  "driver-match": ({ at, of }) =>
    `${at} is not for ${of("driver")}: neither its ids nor its driver_override say so`,
  bridge: ({ at }) => `${at} is a bridge (its header is not of type 0)`,
  "no-vfio-driver": ({ at }) => `${at} is not bound to vfio-pci or another VFIO driver`,
  "device-gone": ({ at }) => `${at} was removed, or never was on this platform`,
  "vfs-on": ({ at }) => `virtual functions of ${at} are switched on`,
  "vf-limit": ({ at, count }) => `${at} can have ${count("count", "virtual function")}`,
  "vf-count": ({ at, count }) => `${at} has ${count("count", "virtual function")} switched on`,
  declaration: ({ of, has }) =>
    has("routing")
      ? `the driver ${of("driver")} was asked for ${of("routing")}`
      : `the driver is ${of("driver")}`,
  slices: ({ at, count }) => `${at} has ${count("count", "slice")} handed out`,
  "slice-in-use": ({ of }) => `${of("label")} is attached to an address space`,
  "slot-taken": ({ at, of }) => `${at} already uses PASID ${of("pasid")}`,
};

const FILES: Readonly<Record<string, Sentence>> = {
  path: ({ of }) => `the path is ${of("path")}`,
  "device-open": ({ at }) => `${at} is open`,
  "group-open": ({ at, others }) => `the file of ${at}'s group (${others}) is open`,
  "bound-by-device-file": ({ at }) => `${at} is bound through its file below /dev/vfio/devices`,
  "not-bound": ({ at }) => `${at} was opened, and VFIO_DEVICE_BIND_IOMMUFD not called since`,
  "vf-token": ({ at, of }) =>
    of("given") === "true"
      ? `the token that was given is not the one of ${at}`
      : `no token was given; the one of ${at} is needed`,
  "ioctl-unknown": ({ hex }) => `the number was ${hex("command")}`,
  "struct-size": ({ of, has }) =>
    `${has("call") ? of("call") : "the struct"} came with ${of("bytes")} bytes; ` +
    `the least is ${of("least")}`,
  "struct-tail": ({ of }) => `the struct came with ${of("bytes")} bytes`,
  "memory-limit": ({ of, count }) =>
    `${of("process")} may not lock ${count("pages", "page")} more (RLIMIT_MEMLOCK)`,
  "no-memory": ({ of }) => `the allocation was for: ${of("what")}`,
  "frame-refused": ({ of }) => `the frame was for ${of("owner")}`,
};

const DEVICES: Readonly<Record<string, Sentence>> = {
  "bar-not-mappable": ({ at, of }) =>
    `BAR ${of("bar")} of ${at} is no memory of whole pages, or the mapping goes beyond its end`,
  "memory-decoding-off": ({ at }) => `Memory Space Enable is off in the command register of ${at}`,
  "no-reset-method": ({ at }) => `${at} has no function level reset and no bus reset of its own`,
  "reset-affects": ({ others }) => `the reset affects ${others}`,
  "reset-not-owned": ({ at }) => `${at} is reset too, and the caller did not show that it owns it`,
  "not-coherent": ({ at }) => `no IOMMU makes the DMA of ${at} cache coherent`,
  "interrupts-not-isolated": ({ at }) => `interrupts of ${at} are not remapped`,
};

const GROUPS: Readonly<Record<string, Sentence>> = {
  "no-group": ({ at }) => `${at} is in no group: no IOMMU covers it`,
  "group-owned-by-user": ({ at, others }) => `the group of ${at} is owned through ${others}`,
  "group-owned-by-other": ({ at, others }) =>
    others === ""
      ? `the group of ${at} has another owner`
      : `another owner has the group of ${at}, through ${others}`,
  "device-claimed": ({ at }) => `${at} has an owner already`,
  "must-share": ({ at, others }) => `${at} must use one address space with ${others}`,
};

const SPACES: Readonly<Record<string, Sentence>> = {
  area: ({ windows }) => `the mapping there is ${windows}`,
  "area-pinned": ({ hex }) => `pages at ${hex("iova")} are pinned by an access`,
  "area-locked": ({ hex }) => `the mapping at ${hex("iova")} is held by a call in progress`,
  "reserved-range": ({ windows, of, has }) =>
    `${windows} is reserved${has("type") ? ` (${of("type")})` : ""}`,
  "allowed-range": ({ windows }) => `the ranges are ${windows}`,
  "iova-not-mapped": ({ hex }) => `nothing is mapped at ${hex("iova")}`,
  alignment: ({ hex }) => `the space maps in units of ${hex("bytes")} bytes`,
  ranges: ({ count, hex }) =>
    `there are ${count("total", "range")}, aligned to ${hex("alignment")}`,
  "outside-aperture": ({ windows }) => `the IOMMU's page table covers ${windows}`,
  page: ({ of }) => `the page is in the table of ${of("table")}`,
  shadow: ({ of, hex }) => `address space ${of("ioas")} has a mapping of its own at ${hex("iova")}`,
  "windows-not-excludable": ({ windows }) => `peers answer at ${windows}`,
  "buffer-revoked": ({ of }) => `the buffer was exported by ${of("exporter")}`,
};

const OBJECTS: Readonly<Record<string, Sentence>> = {
  "object-not-found": ({ of, has }) =>
    has("found")
      ? `id ${of("id")} is of another kind: ${of("found")}`
      : `id ${of("id")} is not in use`,
  "object-in-use": ({ of, count }) => `${of("object")} ${of("id")} has ${count("users", "user")}`,
  "cookie-unknown": ({ of }) => `no page request waits for an answer with cookie ${of("cookie")}`,
  "coherency-not-enforced": ({ of }) =>
    `a page table of address space ${of("ioas")} does not enforce cache coherency`,
  "domain-does-not-fit": ({ at, of }) => `${at} is below ${of("unit")}`,
  "domain-ids-exhausted": ({ of }) => `${of("unit")} has ${of("count")} domain ids, all in use`,
};

const PASIDS: Readonly<Record<string, Sentence>> = {
  "pasid-limit": ({ at, count }) => `${at} has ${count("count", "PASID")}`,
  "pasid-too-large": ({ at, of }) =>
    `${at} has PASIDs below ${of("maxPasids")}; ${of("pasid")} was asked for`,
  "pasids-exhausted": ({ count }) => `${count("count", "PASID")} in use`,
};

const SENTENCES: ReadonlyMap<string, Sentence> = new Map(
  [DRIVERS, FILES, DEVICES, GROUPS, SPACES, OBJECTS, PASIDS].flatMap((each) =>
    Object.entries(each),
  ),
);

/**
 * One sentence without full stop, in lower case where no name begins it; undefined for a kind that
 * has none.
 */
export function refusalSentence(
  evidence: object,
  nameOf: (bdf: Bdf) => string,
): string | undefined {
  const found = evidence as Found;
  return SENTENCES.get(found.kind)?.(wordsOf(found, nameOf));
}

function wordsOf(found: Found, nameOf: (bdf: Bdf) => string): Words {
  const of = (field: string): string => wordOf(found[field]);
  return {
    at: found.at === undefined ? "the device" : nameOf(found.at),
    others: listOf([found.with ?? []].flat().map(nameOf)),
    windows: listOf((found.windows ?? []).flatMap((w) => (w === undefined ? [] : formatSpan(w)))),
    of,
    hex: (field) => hexOf(found[field]),
    count: (field, one) => `${of(field)} ${one}${found[field] === 1 ? "" : "s"}`,
    has: (field) => found[field] !== undefined,
  };
}

function wordOf(value: unknown): string {
  if (value === undefined || value === null) return "?";
  return typeof value === "bigint" ? hexOf(value) : String(value);
}

function hexOf(value: unknown): string {
  if (typeof value !== "bigint" && typeof value !== "number") return wordOf(value);
  return `0x${value.toString(16)}`;
}

/** "a", "a and b", "a, b and c". */
function listOf(words: readonly string[]): string {
  if (words.length <= 1) return words[0] ?? "";
  return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}
