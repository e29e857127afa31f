/**
 * Takes out of a capture what identifies a machine or its owner: serial numbers (the Device Serial
 * Number capability and Vital Product Data of configuration space, texts), MAC addresses, UUIDs and
 * host names.
 *
 * What the analysis reads stays as it is: the answer for the redacted capture is the same. A MAC
 * address may be in a device serial number (PCIe 6 § 7.9.3.2: it is an EUI-64), which is why its
 * bytes become zero.
 */
import { type ConfigSpace, ExtendedCapabilityId, readCapabilities } from "../pcie/index.js";
import type { InputPlace } from "../units/index.js";
import type { Capture, CapturedFunction, Note } from "./capture.js";

/** Vital Product Data: address and data registers, PCI 3.0 § 6.4. */
const VPD = 0x03;

export interface RedactOptions {
  /** More texts to take out, such as the host's name; matched without regard to case. */
  readonly secrets?: readonly string[] | undefined;
}

/** A copy without what identifies; see the head of this file for what that is. */
export function redactCapture(capture: Capture, options: RedactOptions = {}): Capture {
  const clean = textCleaner(options.secrets ?? [], filesOf(capture));
  const cleanPlace = (place: InputPlace): InputPlace => ({ ...place, file: clean(place.file) });
  const notes: Note[] = capture.notes.map((n) => ({
    ...n,
    text: clean(n.text),
    ...(n.place !== undefined && { place: cleanPlace(n.place) }),
  }));
  const { commandLine } = capture.facts;
  return {
    parts: capture.parts.map((p) => ({ ...p, place: cleanPlace(p.place) })),
    functions: capture.functions.map((f) => redactFunction(f, clean)),
    facts: {
      ...capture.facts,
      ...(commandLine !== undefined && {
        commandLine: cleanOptions(redactCommandLine(commandLine), clean),
      }),
    },
    recorded:
      capture.recorded === null
        ? null
        : { ...capture.recorded, place: cleanPlace(capture.recorded.place) },
    notes,
  };
}

/** Every file that a place of the capture names, longest first. */
function filesOf(capture: Capture): string[] {
  const files = new Set<string>();
  for (const p of capture.parts) files.add(p.place.file);
  for (const f of capture.functions) files.add(f.place.file);
  for (const n of capture.notes) if (n.place !== undefined) files.add(n.place.file);
  if (capture.recorded !== null) files.add(capture.recorded.place.file);
  return [...files].filter((f) => f.includes("/")).sort((a, b) => b.length - a.length);
}

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** Network interfaces that are named after their MAC address. */
const MAC_NAME = /\benx[0-9a-f]{12}\b/gi;
const MAC = /\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}(?:[:-][0-9a-f]{2}){0,2}\b/gi;
const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi;
const MAIL = /\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+\b/g;

/** Directories say who took the capture: of a file's path its name stays. */
function textCleaner(
  secrets: readonly string[],
  files: readonly string[],
): (text: string) => string {
  const words = secrets.filter((s) => s.length > 1);
  const known = new Set(files);
  return (text) => {
    let out = known.has(text) ? baseName(text) : text;
    if (out.includes("/")) for (const file of files) out = out.replaceAll(file, baseName(file));
    out = out
      .replace(MAC_NAME, "enx000000000000")
      .replace(UUID, "00000000-0000-0000-0000-000000000000")
      .replace(MAC, (mac) => mac.replace(/[0-9a-f]/gi, "0"))
      .replace(MAIL, "REDACTED");
    for (const word of words) out = replaceAll(out, word);
    return out;
  };
}

function replaceAll(text: string, word: string): string {
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text.replace(new RegExp(`(?<![A-Za-z0-9])${escaped}(?![A-Za-z0-9])`, "gi"), "REDACTED");
}

/** Options whose value names a machine, a disk, a network or a person. */
const IDENTIFYING =
  /(^|\s)((?:root|resume|rd\.luks\.uuid|rd\.lvm\.(?:lv|vg)|cryptdevice|nfsroot|ip|BOOTIF|netdev|hostname|systemd\.hostname|systemd\.machine_id|ds|url|inst\.\w+|autoinstall|live-media|findiso|luks\.\w+)=)("[^"]*"|\S*)/gi;

/**
 * `root=UUID=…` becomes `root=REDACTED`; options that the kernel's IOMMU and PCI code reads stay.
 */
export function redactCommandLine(text: string): string {
  return text.replace(IDENTIFYING, "$1$2REDACTED");
}

/** Options that the kernel's PCI and IOMMU code reads: the analysis needs them as they are. */
const READ_OPTION = /^"?(?:pcie?|[\w.-]*iommu|vfio|arm-smmu)[\w.-]*(?:=|$)/i;

function cleanOptions(text: string, clean: (text: string) => string): string {
  return text
    .split(/(\s+)/)
    .map((word) => (READ_OPTION.test(word) ? word : clean(word)))
    .join("");
}

function redactFunction(f: CapturedFunction, clean: (text: string) => string): CapturedFunction {
  const shown = Object.entries(f.shown ?? {}).map(([name, value]) => [
    name,
    /serial/i.test(name) ? "REDACTED" : clean(value),
  ]);
  return {
    ...f,
    config: redactConfig(f.config),
    place: { ...f.place, file: clean(f.place.file) },
    ...(f.shown !== undefined && { shown: Object.fromEntries(shown) }),
    ...(f.name !== undefined && { name: clean(f.name) }),
    ...(f.label !== undefined && { label: clean(f.label) }),
    ...(f.slot !== undefined && { slot: clean(f.slot) }),
  };
}

/** Zeroes the serial number (8 bytes after the header) and the VPD data window. */
export function redactConfig(config: ConfigSpace): ConfigSpace {
  const list = readCapabilities(config);
  const serial = list.extended?.get(ExtendedCapabilityId.Serial);
  const vpd = list.standard?.get(VPD);
  if (serial === undefined && vpd === undefined) return config;
  const bytes = config.bytes.slice();
  if (serial !== undefined) bytes.fill(0, serial + 4, serial + 12);
  if (vpd !== undefined) bytes.fill(0, vpd + 2, vpd + 8);
  return config.withBytes(bytes);
}
