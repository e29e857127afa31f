/**
 * Sources on the command line to one Capture: files, directories, archives, standard input, or this
 * host. Everything is recognised by content. Large files that hold nothing known are refused after
 * a bounded look.
 */
import {
  closeSync,
  type Dirent,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Architecture } from "../../isolation/index.js";
import { InputError } from "../../units/index.js";
import {
  type Capture,
  type CapturePart,
  decodeText,
  detectParts,
  isInsideSysfs,
  isSysfsPath,
  KNOWN_FORMATS,
  type LspciOptions,
  looksLikePlatform,
  mergeParts,
  PLATFORM_MARKER,
  PLATFORM_SNIFF_CHARACTERS,
  parseSysfs,
  SysfsFiles,
} from "../index.js";
import { collectSysfs, holdsSysfs } from "./collect.io.js";
import {
  ATTRIBUTE_LIMIT_BYTES,
  COPY_LIMIT_BYTES,
  DIRECTORY_DEPTH_LIMIT,
  DIRECTORY_ENTRY_LIMIT,
  MEMBER_LIMIT_BYTES,
  PIPE_LIMIT_BYTES,
  PLATFORM_FILE_LIMIT,
  UNPACKED_LIMIT_BYTES,
} from "./limits.js";
import { packagedNames, systemNames } from "./names.io.js";
import { looksLikeTar, readTar } from "./tar.io.js";
import { compressionOf, unpack } from "./unpack.io.js";

export interface LoadOptions extends LspciOptions {
  /** Where this host's /sys and /proc are; "/" unless a test says otherwise. */
  readonly root?: string | undefined;
  /** What `-` reads. */
  readonly stdin?: (() => Uint8Array) | undefined;
}

/**
 * @param sources paths, or `-` for standard input; none: this host
 * @throws InputError when a source cannot be opened, holds nothing known, is damaged, or
 * contradicts another
 */
export async function loadCapture(
  sources: readonly string[],
  options: LoadOptions = {},
): Promise<Capture> {
  return load(sources, options, true);
}

/** @param platforms whether platform files may be among the sources. */
async function load(
  sources: readonly string[],
  options: LoadOptions,
  platforms: boolean,
): Promise<Capture> {
  const names = options.names ?? [systemNames(), packagedNames()];
  const loader = new Loader({ ...options, names }, platforms);
  if (sources.length === 0) loader.liveHost(options.root ?? "/");
  for (const source of sources) {
    const before = loader.parts.length;
    if (source === "-") await loader.bytes("(standard input)", readInput(options));
    else await loader.path(source);
    await loader.platforms();
    if (!loader.parts.slice(before).some((p) => p.kind !== "other" || p.groupDetails))
      throw new InputError("nothing known was found", { file: source }, KNOWN_FORMATS);
  }
  return mergeParts(loader.parts, { file: sources.join(", ") || "this host" });
}

function readInput(options: LoadOptions): Uint8Array {
  return options.stdin?.() ?? readDescriptor(0, "(standard input)");
}

/** Node's names of processors. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: "x86",
  ia32: "x86",
  arm64: "arm64",
  riscv64: "riscv64",
};

class Loader {
  readonly parts: CapturePart[] = [];
  readonly #options: LspciOptions;
  /** Length → contents already read, so that a file and its copy count once. Small files only. */
  readonly #read = new Map<number, Uint8Array[]>();
  #entries = 0;
  readonly #mayReadPlatforms: boolean;
  /** Platform files met; an archive's members come where nothing can be awaited. */
  #platforms: { readonly name: string; readonly text: string; readonly archived: boolean }[] = [];

  constructor(options: LspciOptions, mayReadPlatforms: boolean) {
    this.#options = options;
    this.#mayReadPlatforms = mayReadPlatforms;
  }

  /** Reads the platform files met so far. @throws InputError, also with several problems. */
  async platforms(): Promise<void> {
    const met = this.#platforms;
    this.#platforms = [];
    for (const { name, text, archived } of met) {
      if (!this.#mayReadPlatforms)
        throw new InputError("a platform starts from a capture", { file: name }, "no platform");
      const { platformSource } = await import("./platform-source.io.js");
      const from = (sources: readonly string[]) => load(sources, this.#options, false);
      this.parts.push(await platformSource(text, name, archived ? undefined : from));
    }
  }

  liveHost(root: string): void {
    const part = parseSysfs(collectSysfs(root), { file: root === "/" ? "this host" : root });
    if (part === undefined)
      throw new InputError("this host shows no PCI devices", { file: join(root, "sys/bus/pci") });
    const architecture = root === "/" ? ARCHITECTURES[process.arch] : undefined;
    const facts = { ...(architecture !== undefined && { architecture }), ...part.facts };
    this.parts.push({ ...part, facts });
  }

  async path(path: string): Promise<void> {
    let descriptor: number;
    try {
      descriptor = openSync(path, "r");
    } catch (error) {
      throw new InputError(`cannot be opened: ${reason(error)}`, { file: path });
    }
    try {
      if (fstatSync(descriptor).isDirectory()) await this.#directory(path);
      else await this.bytes(path, readDescriptor(descriptor, path));
    } finally {
      closeSync(descriptor);
    }
  }

  async bytes(name: string, bytes: Uint8Array): Promise<void> {
    const kind = compressionOf(bytes, name);
    if (kind === undefined) {
      if (looksLikeTar(bytes)) await this.#tar(name, [bytes]);
      else this.#file(name, bytes);
      return;
    }
    const stream = unpack(bytes, kind, name);
    const first = await atLeast(stream, 512);
    if (looksLikeTar(first)) await this.#tar(name, rejoin(first, stream));
    else this.#file(name, await concat(rejoin(first, stream), MEMBER_LIMIT_BYTES, name));
  }

  #file(name: string, bytes: Uint8Array, archived = false): void {
    const same = this.#read.get(bytes.length) ?? [];
    if (same.some((other) => Buffer.compare(other, bytes) === 0)) return;
    if (isPlatform(bytes)) {
      if (bytes.length > PLATFORM_FILE_LIMIT)
        throw new InputError("too large for a platform file", { file: name }, "at most 16 MiB");
      this.#platforms.push({ name, text: decodeText(bytes).text, archived });
      if (bytes.length <= COPY_LIMIT_BYTES) this.#read.set(bytes.length, [...same, bytes]);
      return;
    }
    const found = detectParts(bytes, name, this.#options);
    if (found.length > 0 && bytes.length <= COPY_LIMIT_BYTES)
      this.#read.set(bytes.length, [...same, bytes]);
    this.parts.push(...found);
  }

  async #tar(
    name: string,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const tree = new SysfsFiles();
    await readTar(chunks, name, {
      tree,
      file: (member, bytes) => this.#file(`${name}/${member}`, bytes, true),
    });
    this.#tree(tree, name);
  }

  #tree(tree: SysfsFiles, name: string): void {
    const part = tree.isEmpty ? undefined : parseSysfs(tree, { file: name });
    if (part !== undefined) this.parts.push(part);
  }

  async #directory(path: string): Promise<void> {
    const itself = resolve(path);
    if (basename(itself) === "sys" && holdsSysfs(dirname(itself))) {
      this.#tree(collectSysfs(dirname(itself)), path);
      return;
    }
    const tree = holdsSysfs(path) ? collectSysfs(path) : new SysfsFiles();
    const skip = tree.isEmpty ? [] : ["sys", "proc"];
    await this.#walk(path, "", tree, 0, skip);
    this.#tree(tree, path);
  }

  async #walk(
    root: string,
    below: string,
    tree: SysfsFiles,
    depth: number,
    skip: readonly string[],
  ): Promise<void> {
    if (depth > DIRECTORY_DEPTH_LIMIT) return;
    const entries = this.#entriesOf(join(root, below));
    entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    for (const entry of entries) {
      if (skip.includes(entry.name)) continue;
      if (++this.#entries > DIRECTORY_ENTRY_LIMIT)
        throw new InputError("too many files", { file: root }, `at most ${DIRECTORY_ENTRY_LIMIT}`);
      const path = join(below, entry.name);
      const full = join(root, path);
      const sysfs = isSysfsPath(join(basename(root), path));
      if (entry.isDirectory()) {
        if (sysfs) tree.directories.add(path);
        await this.#walk(root, path, tree, depth + 1, []);
      } else if (entry.isSymbolicLink() && sysfs) tree.links.set(path, readlinkSync(full));
      else if (entry.isFile() && sysfs) tree.files.set(path, readSmall(full));
      else if (isFileOrLinkToOne(entry, full) && !isHidden(entry.name) && !isInsideSysfs(path))
        await this.#member(full);
    }
  }

  #entriesOf(path: string): Dirent[] {
    try {
      return readdirSync(path, { withFileTypes: true });
    } catch (error) {
      this.#passOver(path, reason(error));
      return [];
    }
  }

  /** A file of a directory: what cannot be read or is too large is passed over, with a note. */
  async #member(path: string): Promise<void> {
    let descriptor: number;
    try {
      descriptor = openSync(path, "r");
    } catch (error) {
      this.#passOver(path, reason(error));
      return;
    }
    try {
      if (fstatSync(descriptor).size > MEMBER_LIMIT_BYTES) this.#passOver(path, "too large");
      else await this.bytes(path, readDescriptor(descriptor, path));
    } finally {
      closeSync(descriptor);
    }
  }

  #passOver(file: string, why: string): void {
    const note = { severity: "warning", text: `passed over: ${why}`, place: { file } } as const;
    this.parts.push({ kind: "other", place: { file }, notes: [note] });
  }
}

/**
 * The marker is searched for in the bytes, so that other files need not be decoded for it; UTF-16
 * is known by its byte order mark.
 */
function isPlatform(bytes: Uint8Array): boolean {
  const length = Math.min(bytes.length, PLATFORM_SNIFF_CHARACTERS);
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, length);
  const wide = (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff);
  return (wide || head.includes(PLATFORM_MARKER)) && looksLikePlatform(decodeText(head).text);
}

function readSmall(path: string): Uint8Array {
  try {
    const bytes = readFileSync(path);
    return bytes.length <= ATTRIBUTE_LIMIT_BYTES ? bytes : new Uint8Array(0);
  } catch {
    return new Uint8Array(0);
  }
}

/** Links to files are followed, links to directories are not: they may form loops. */
function isFileOrLinkToOne(entry: Dirent, path: string): boolean {
  if (!entry.isSymbolicLink()) return entry.isFile();
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

const isHidden = (name: string): boolean => name.startsWith(".");

const CHUNK = 1024 * 1024;

/** All of a file or pipe. @throws InputError when it is longer than the limit or cannot be read. */
export function readDescriptor(descriptor: number, file: string): Uint8Array {
  try {
    const { size } = fstatSync(descriptor);
    if (size > UNPACKED_LIMIT_BYTES) throw tooLarge(file);
    if (size > 0) return readFileSync(descriptor);
    const parts: Buffer[] = [];
    let total = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const n = readSync(descriptor, chunk, 0, CHUNK, null);
      if (n === 0) return Buffer.concat(parts);
      total += n;
      if (total > PIPE_LIMIT_BYTES)
        throw new InputError("too much", { file }, `at most ${PIPE_LIMIT_BYTES} bytes`);
      parts.push(chunk.subarray(0, n));
    }
  } catch (error) {
    if (InputError.is(error)) throw error;
    throw new InputError(`cannot be read: ${reason(error)}`, { file });
  }
}

function tooLarge(file: string): InputError {
  return new InputError("the file is too large", { file }, `at most ${UNPACKED_LIMIT_BYTES} bytes`);
}

function reason(error: unknown): string {
  const code = (error as { code?: string }).code;
  if (code === "ENOENT") return "there is no such file or directory";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  return error instanceof Error ? error.message : String(error);
}

async function atLeast(stream: AsyncGenerator<Uint8Array>, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  while (total < length) {
    const { value, done } = await stream.next();
    if (done === true) break;
    parts.push(value);
    total += value.length;
  }
  return Buffer.concat(parts);
}

async function* rejoin(
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  yield* rest;
}

async function concat(
  stream: AsyncIterable<Uint8Array>,
  limit: number,
  file: string,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of stream) {
    total += chunk.length;
    if (total > limit)
      throw new InputError("unpacks to too much", { file }, `at most ${limit} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}
