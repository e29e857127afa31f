/**
 * Writer for the cpio "newc" archives the kernel unpacks as its first root file system.
 *
 * Time stamps, owners and inode numbers are fixed, so equal content makes an equal archive.
 * Format: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.
 */

export type CpioEntry =
  | { readonly kind: "folder"; readonly path: string }
  | {
      readonly kind: "file";
      readonly path: string;
      readonly data: Uint8Array;
      readonly run?: boolean;
    }
  | { readonly kind: "link"; readonly path: string; readonly to: string }
  | {
      readonly kind: "character-device";
      readonly path: string;
      readonly major: number;
      readonly minor: number;
    };

const modeOf = { folder: 0o040755, file: 0o100644, link: 0o120777, "character-device": 0o020600 };

/** The archive, trailer included. Folders must come before what they hold. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  entries.forEach((entry, index) => {
    const executable = entry.kind === "file" && entry.run === true;
    const device = entry.kind === "character-device" ? entry : undefined;
    pushRecord(parts, {
      inode: index + 1,
      mode: executable ? 0o100755 : modeOf[entry.kind],
      path: entry.path,
      data: dataOf(entry),
      major: device?.major ?? 0,
      minor: device?.minor ?? 0,
    });
  });
  const none = new Uint8Array();
  pushRecord(parts, { inode: 0, mode: 0, path: "TRAILER!!!", data: none, major: 0, minor: 0 });
  return concatenate(parts);
}

interface CpioRecord {
  readonly inode: number;
  readonly mode: number;
  readonly path: string;
  readonly data: Uint8Array;
  readonly major: number;
  readonly minor: number;
}

function dataOf(entry: CpioEntry): Uint8Array {
  if (entry.kind === "file") return entry.data;
  if (entry.kind === "link") return new TextEncoder().encode(entry.to);
  return new Uint8Array();
}

function pushRecord(parts: Uint8Array[], record: CpioRecord): void {
  const name = new TextEncoder().encode(`${record.path}\0`);
  const fields = [
    record.inode,
    record.mode,
    0, // owner
    0, // owning group
    1, // links
    0, // modification time
    record.data.length,
    0, // device the archive came from
    0,
    record.major,
    record.minor,
    name.length,
    0, // checksum, not used by this variant
  ];
  const hex = fields.map((value) => value.toString(16).padStart(8, "0")).join("");
  const header = new TextEncoder().encode(`070701${hex}`);
  parts.push(header, name, padding(header.length + name.length));
  parts.push(record.data, padding(record.data.length));
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
