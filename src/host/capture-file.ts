/**
 * The capture file: JSON, schema `ioasis/capture/1` (schemas/capture.schema.json).
 *
 * Holds all that the analysis uses, so that a file gives the same answer on every machine:
 * configuration bytes without trailing zeros, which of them are known, facts of sysfs, firmware
 * tables, kernel and command line. Recorded groups are in it too, for comparison only.
 */
import type { BarHint } from "../pcie/index.js";
import { ConfigSpace } from "../pcie/index.js";
import { InputError, type InputPlace } from "../units/index.js";
import type {
  Capture,
  CapturedFunction,
  CapturePart,
  Note,
  PartKind,
  RecordedGroup,
  RecordedGroups,
  ReservedRegion,
} from "./capture.js";
import { factsShape } from "./capture-file-facts.js";
import { lineOfPath, syntaxErrorLine } from "./json-line.js";
import * as shape from "./json-shape.js";
import { decodeBase64, encodeBase64 } from "./parse/acpi-text.js";

export const CAPTURE_SCHEMA = "ioasis/capture/1";

const { address, flag, integer, list, may, need, nullable, object, oneOf, text, wide } = shape;

const bytes: shape.Shape<Uint8Array> = {
  read: (value, path) => {
    const decoded = typeof value === "string" ? decodeBase64(value) : undefined;
    if (decoded === undefined || decoded.length > 4096)
      throw new shape.ShapeError("not base64", path, "base64 of at most 4096 bytes");
    return decoded;
  },
  write: encodeBase64,
};

interface ConfigJson {
  readonly extent: number;
  readonly bytes: Uint8Array;
  /** One bit per byte, lowest first; absent when the whole extent is known. */
  readonly known?: Uint8Array | undefined;
}

const configJson = object<ConfigJson>({
  extent: need(integer(4096)),
  bytes: need(bytes),
  known: may(bytes),
});

const config: shape.Shape<ConfigSpace> = {
  read: (value, path) => {
    const { extent, bytes, known } = configJson.read(value, path);
    if (extent !== 0 && extent !== 64 && extent !== 256 && extent !== 4096)
      throw new shape.ShapeError(`found ${extent}`, [...path, "extent"], "0, 64, 256 or 4096");
    if (known === undefined) return new ConfigSpace(bytes, extent);
    const mask = new Uint8Array(512);
    mask.set(known.subarray(0, 512));
    return new ConfigSpace(bytes, extent, mask);
  },
  write: (value) => {
    const { extent, bytes } = value;
    const whole = value.isKnown(0, extent) && bytes.length <= extent && extent > 0;
    return configJson.write({ extent, bytes, known: whole ? undefined : knownMask(value) });
  },
};

function knownMask(value: ConfigSpace): Uint8Array {
  const mask = new Uint8Array(512);
  let used = 0;
  for (let at = 0; at < 4096; at++) {
    if (!value.isKnown(at, 1)) continue;
    mask[at >>> 3] = (mask[at >>> 3] ?? 0) | (1 << (at & 7));
    used = (at >>> 3) + 1;
  }
  return mask.slice(0, used);
}

const place = object<InputPlace>({
  file: need(text),
  line: may(integer(2 ** 32)),
  field: may(text),
});

const bar = object<BarHint>({
  index: need(integer(6)),
  size: may(wide),
  base: may(wide),
  kind: may(oneOf("io", "memory32", "memory64")),
  prefetchable: may(flag),
  unassigned: may(flag),
});

type Ids = NonNullable<CapturedFunction["ids"]>;
const u16 = integer(0xffff);
const ids = object<Ids>({
  vendor: may(u16),
  device: may(u16),
  subVendor: may(u16),
  subDevice: may(u16),
  revision: may(integer(0xff)),
  classCode: may(integer(0xffffff)),
});

type FunctionJson = Omit<CapturedFunction, "bdf" | "decided"> & {
  readonly device: CapturedFunction["bdf"];
};

const functionJson = object<FunctionJson>({
  device: need(address),
  config: need(config),
  headerType: may(integer(0xff)),
  ids: may(ids),
  idsFrom: need(oneOf("numeric", "hex", "name", "ambiguous-name", "none")),
  bars: may(list(bar)),
  vfBars: may(list(bar)),
  candidates: may(
    list(object<{ vendor: number; device: number }>({ vendor: need(u16), device: need(u16) })),
  ),
  physfn: may(address),
  virtual: may(flag),
  parent: may(nullable(address)),
  behindVmd: may(address),
  driver: may(nullable(text)),
  slot: may(text),
  label: may(text),
  name: may(text),
  externalFacing: may(flag),
  untrusted: may(flag),
  shown: may(shape.textRecord),
  place: need(place),
});

const group = object<RecordedGroup>({
  id: need(integer(2 ** 31)),
  devices: need(list(address)),
  type: may(text),
  reserved: may(list(object<ReservedRegion>({ span: need(shape.span), kind: need(text) }))),
});

const recorded = object<RecordedGroups>({
  from: need(oneOf("lspci", "group-list", "sysfs", "dmesg", "ioasis-capture")),
  place: need(place),
  groups: need(list(group)),
});

const note = object<Note>({
  severity: need(oneOf("conflict", "warning", "info")),
  text: need(text),
  place: may(place),
});

const PART_KINDS = [
  "lspci-text",
  "lspci-hex",
  "lspci-tree",
  "dmesg",
  "group-list",
  "dmar",
  "ivrs",
  "iort",
  "viot",
  "sysfs",
  "device-list",
  "command-line",
  "kernel-release",
  "ioasis-capture",
  "platform",
  "pci-ids",
  "other",
] as const satisfies readonly PartKind[];

interface FileJson {
  readonly schema: typeof CAPTURE_SCHEMA;
  readonly tool: { readonly name: string; readonly version: string };
  readonly redacted: boolean;
  readonly parts: Capture["parts"];
  readonly host: Capture["facts"];
  readonly functions: readonly FunctionJson[];
  readonly recorded: RecordedGroups | null;
  readonly notes: readonly Note[];
}

const fileJson = object<FileJson>({
  schema: need(oneOf(CAPTURE_SCHEMA)),
  tool: need(object<FileJson["tool"]>({ name: need(text), version: need(text) })),
  redacted: need(flag),
  parts: need(
    list(
      object<Capture["parts"][number]>({ kind: need(oneOf(...PART_KINDS)), place: need(place) }),
    ),
  ),
  host: need(factsShape),
  functions: need(list(functionJson)),
  recorded: need(nullable(recorded)),
  notes: need(list(note)),
});

export interface CaptureFileInfo {
  readonly toolVersion: string;
  readonly redacted: boolean;
}

/** The text of a capture file, one function per line. */
export function writeCaptureFile(capture: Capture, info: CaptureFileInfo): string {
  const json = fileJson.write({
    schema: CAPTURE_SCHEMA,
    tool: { name: "ioasis", version: info.toolVersion },
    redacted: info.redacted,
    parts: capture.parts,
    host: capture.facts,
    functions: capture.functions.map(({ bdf, decided: _, ...rest }) => ({ device: bdf, ...rest })),
    recorded: capture.recorded,
    notes: capture.notes,
  }) as Record<string, unknown>;
  const fields = Object.entries(json).map(([name, value]) => {
    if (!Array.isArray(value) || value.length === 0)
      return `  ${JSON.stringify(name)}: ${JSON.stringify(value)}`;
    const items = value.map((item) => `    ${JSON.stringify(item)}`).join(",\n");
    return `  ${JSON.stringify(name)}: [\n${items}\n  ]`;
  });
  return `{\n${fields.join(",\n")}\n}\n`;
}

/** Cheap: looks at the beginning. */
export function looksLikeCaptureFile(head: string): boolean {
  return /^\s*\{/.test(head) && /"schema"\s*:\s*"ioasis\/capture\//.test(head.slice(0, 4096));
}

/** @throws InputError with line and field when the text is no capture file of this schema. */
export function readCaptureFile(source: string, file: string): Capture {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    const line = syntaxErrorLine(source, message);
    throw new InputError(
      "this is not JSON",
      { file, ...(line !== undefined && { line }) },
      `a capture file (${CAPTURE_SCHEMA})`,
    );
  }
  try {
    const json = fileJson.read(value, []);
    return {
      parts: json.parts,
      functions: json.functions.map(({ device, ...rest }) => ({ bdf: device, ...rest })),
      facts: json.host,
      recorded: json.recorded,
      notes: json.notes,
    };
  } catch (error) {
    if (!shape.ShapeError.is(error)) throw error;
    const field = error.path.join(".") || "(root)";
    const line = lineOfPath(source, error.path);
    throw new InputError(error.message, { file, line, field }, error.expected);
  }
}

/** A capture file as a part, to be merged with what was given besides it. */
export function captureFilePart(source: string, file: string): CapturePart {
  const capture = readCaptureFile(source, file);
  const { functions, facts, notes } = capture;
  return {
    kind: "ioasis-capture",
    place: { file },
    functions,
    facts,
    notes,
    ...(capture.recorded !== null && {
      recorded: { ...capture.recorded, from: "ioasis-capture", place: { file } },
    }),
  };
}
