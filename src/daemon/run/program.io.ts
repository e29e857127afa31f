/**
 * Programs that the client library cannot reach, recognised before they start.
 *
 * A program without a dynamic loader loads no library; one written in Go makes system calls of its
 * own; for one that runs as another user the loader ignores the library.
 */
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readSync,
  type Stats,
  statSync,
} from "node:fs";
import { delimiter, join } from "node:path";

export type ProgramProblem = "not-found" | "not-executable" | "static" | "go" | "set-user";

export interface FoundProgram {
  readonly path: string;
  readonly problem?: ProgramProblem;
}

const PT_INTERP = 3;
const PT_NOTE = 4;
const SETUID_SETGID = 0o6000;

/** Looks a program up as a shell does. */
export function findProgram(name: string, searchPath: string): FoundProgram {
  const places = name.includes("/")
    ? [name]
    : searchPath.split(delimiter).map((folder) => join(folder === "" ? "." : folder, name));
  let found: FoundProgram = { path: name, problem: "not-found" };
  for (const path of places) {
    const stat = statIfReachable(path);
    if (stat === undefined) continue;
    found = { path, problem: "not-executable" };
    if (stat.isFile() && mayRun(path)) return inspect(path, stat.mode);
  }
  return found;
}

/** Undefined as well for a path below a folder that this user may not enter: shells go on. */
function statIfReachable(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function inspect(path: string, mode: number): FoundProgram {
  if ((mode & SETUID_SETGID) !== 0) return { path, problem: "set-user" };
  const head = firstBytes(path, 64 * 1024);
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46) return { path };
  const kind = kindOf(head);
  return kind === undefined ? { path } : { path, problem: kind };
}

/** Of a 64-bit little-endian ELF file, by its program headers. */
function kindOf(elf: Buffer): ProgramProblem | undefined {
  if (elf[4] !== 2 || elf[5] !== 1) return undefined;
  const table = Number(elf.readBigUInt64LE(32));
  const size = elf.readUInt16LE(54);
  const count = elf.readUInt16LE(56);
  let isDynamic = false;
  for (let i = 0; i < count && table + (i + 1) * size <= elf.length; i++) {
    const at = table + i * size;
    const type = elf.readUInt32LE(at);
    if (type === PT_INTERP) isDynamic = true;
    if (type === PT_NOTE && isGoNote(elf, at)) return "go";
  }
  return isDynamic ? undefined : "static";
}

/** The note with Go's build id: name "Go", type 4. */
function isGoNote(elf: Buffer, header: number): boolean {
  const at = Number(elf.readBigUInt64LE(header + 8));
  if (at + 16 > elf.length) return false;
  return elf.readUInt32LE(at) === 4 && elf.toString("latin1", at + 12, at + 14) === "Go";
}

function firstBytes(path: string, length: number): Buffer {
  try {
    const fd = openSync(path, "r");
    const bytes = Buffer.alloc(length);
    try {
      return bytes.subarray(0, readSync(fd, bytes, 0, length, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return Buffer.alloc(0);
  }
}

/** Why, in words. */
export const PROBLEM_TEXT: Readonly<Record<ProgramProblem, string>> = {
  "not-found": "not found",
  "not-executable": "cannot be executed",
  static: "is statically linked: no library can be loaded into it",
  go: "is written in Go, which makes system calls of its own: no library can stand in between",
  "set-user": "runs as another user or group: the loader ignores libraries given from outside",
};
