/**
 * Compressed files: which kind, and their contents as a stream. Libraries are loaded when one is
 * met.
 */
import { Readable } from "node:stream";
import { InputError } from "../../units/index.js";
import { UNPACKED_LIMIT_BYTES } from "./limits.js";

export type Compression = "gzip" | "xz" | "bzip2";

const MAGIC: readonly (readonly [Compression | "zstd" | "zip" | "7z", readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b, 0x08]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["zip", [0x50, 0x4b, 0x03, 0x04]],
  ["7z", [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]],
];

/** By the first bytes. @throws InputError for archives of a kind that cannot be read here. */
export function compressionOf(bytes: Uint8Array, file: string): Compression | undefined {
  const found = MAGIC.find(([, magic]) => magic.every((byte, i) => bytes[i] === byte))?.[0];
  if (found === "zstd" || found === "zip" || found === "7z")
    throw new InputError(
      `${found} archives cannot be read`,
      { file },
      "tar, gz, xz or bz2: unpack it first",
    );
  return found;
}

/** The unpacked bytes. Errors of the stream are InputErrors. */
export async function* unpack(
  bytes: Uint8Array,
  kind: Compression,
  file: string,
  limit = UNPACKED_LIMIT_BYTES,
): AsyncGenerator<Uint8Array> {
  let total = 0;
  try {
    for await (const chunk of await open(bytes, kind)) {
      total += chunk.length;
      if (total > limit)
        throw new InputError("unpacks to too much", { file }, `at most ${limit} bytes`);
      yield chunk;
    }
  } catch (error) {
    if (InputError.is(error)) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new InputError(`the ${kind} data is damaged: ${why}`, { file }, "a whole file");
  }
}

async function open(bytes: Uint8Array, kind: Compression): Promise<AsyncIterable<Uint8Array>> {
  if (kind === "gzip") {
    const { createGunzip } = await import("node:zlib");
    return pipeInto(bytes, createGunzip());
  }
  if (kind === "bzip2") {
    const { default: unbzip2 } = await import("unbzip2-stream");
    return pipeInto(bytes, unbzip2());
  }
  const { default: xz } = await import("xz-decompress");
  const { ReadableStream } = await import("node:stream/web");
  const input = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
  return new xz.XzReadableStream(input as never) as unknown as AsyncIterable<Uint8Array>;
}

const CHUNK = 64 * 1024;

function pipeInto(bytes: Uint8Array, target: NodeJS.ReadWriteStream): AsyncIterable<Uint8Array> {
  const source = Readable.from(chunks(bytes));
  source.pipe(target);
  // The older streams of the bzip2 reader are made iterable by wrapping them.
  const stream = target as unknown as { [Symbol.asyncIterator]?: unknown };
  if (stream[Symbol.asyncIterator] !== undefined) return target as AsyncIterable<Uint8Array>;
  const wrapped = new Readable({ objectMode: false }).wrap(target);
  target.on("error", (error) => wrapped.destroy(error));
  return wrapped;
}

function* chunks(bytes: Uint8Array): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += CHUNK) {
    yield Buffer.from(bytes.buffer, bytes.byteOffset + at, Math.min(CHUNK, bytes.length - at));
  }
}
