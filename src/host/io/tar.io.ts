/** Members of a tar that a capture may need: sysfs entries into a tree, other files one by one. */
import { Readable } from "node:stream";
import { InputError } from "../../units/index.js";
import { isInsideSysfs, isSysfsPath, type SysfsFiles } from "../index.js";
import {
  ARCHIVE_ENTRY_LIMIT,
  ATTRIBUTE_LIMIT_BYTES,
  MEMBER_LIMIT_BYTES,
  UNPACKED_LIMIT_BYTES,
} from "./limits.js";

const BLOCK = 512;

/**
 * A header block with a right checksum (POSIX ustar, § pax interchange format; also older tars).
 */
export function looksLikeTar(bytes: Uint8Array): boolean {
  if (bytes.length < BLOCK) return false;
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : (bytes[i] ?? 0);
  const field = Buffer.from(bytes.subarray(148, 156)).toString("latin1");
  const stored = /^[\s\0]*([0-7]{1,7})[\s\0]*$/.exec(field)?.[1];
  return stored !== undefined && Number.parseInt(stored, 8) === sum && bytes[0] !== 0;
}

export interface TarSink {
  readonly tree: SysfsFiles;
  /** A regular file that is no sysfs entry. */
  readonly file: (name: string, bytes: Uint8Array) => void;
}

/** @throws InputError when the tar is damaged or has too much in it. */
export async function readTar(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  file: string,
  sink: TarSink,
): Promise<void> {
  const { default: library } = await import("tar-stream");
  const tar = library.extract();
  const source = Readable.from(chunks);
  source.on("error", (error) => tar.destroy(error));
  source.pipe(tar);
  let entries = 0;
  let total = 0;
  try {
    for await (const entry of tar) {
      if (++entries > ARCHIVE_ENTRY_LIMIT)
        throw new InputError(
          "the archive has too many members",
          { file },
          `at most ${ARCHIVE_ENTRY_LIMIT}`,
        );
      const { name, type, size, linkname } = entry.header;
      const sysfs = isSysfsPath(name.replace(/\/$/, ""));
      const limit = sysfs ? ATTRIBUTE_LIMIT_BYTES : MEMBER_LIMIT_BYTES;
      const regular = type === "file" || type === "contiguous-file";
      const wanted = regular && size <= limit && (sysfs || !isInsideSysfs(name));
      if (!wanted) {
        if (sysfs && type === "symlink") sink.tree.links.set(name, linkname ?? "");
        else if (sysfs && type === "directory") sink.tree.directories.add(name.replace(/\/$/, ""));
        entry.resume();
        continue;
      }
      total += size;
      if (total > UNPACKED_LIMIT_BYTES)
        throw new InputError(
          "unpacks to too much",
          { file },
          `at most ${UNPACKED_LIMIT_BYTES} bytes`,
        );
      const bytes = await readAll(entry);
      if (sysfs) sink.tree.files.set(name, bytes);
      else sink.file(name, bytes);
    }
  } catch (error) {
    if (InputError.is(error)) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(`the tar is damaged: ${why}`, { file }, "a whole archive");
  }
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of stream) parts.push(chunk);
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}
