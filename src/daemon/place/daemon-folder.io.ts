/**
 * Where daemons live: a folder of the user's own, in it one for each daemon.
 *
 * A daemon's folder holds the socket of the programs, the socket for questions, the tree of files,
 * and who made it. What a daemon that was killed left behind is removed by the next one.
 */
import {
  accessSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DaemonError } from "./daemon-error.js";

/** What a daemon writes about itself. */
export interface DaemonFacts {
  readonly pid: number;
  /** When the process started, in ticks: tells it from a later one with the same number. */
  readonly started: string;
  readonly name: string;
  readonly platform: string;
  readonly rules: string;
  /** The program that a daemon of its own was started for. */
  readonly program?: readonly string[] | undefined;
}

export interface DaemonFolder {
  readonly path: string;
  readonly socket: string;
  readonly control: string;
  readonly root: string;
}

const FACTS = "daemon.json";
/** Bytes of a socket's path, at most (unix(7)). */
const SOCKET_PATH = 107;

/** @throws DaemonError when the folder belongs to somebody else. */
export function baseFolder(): string {
  const runtime = process.env["XDG_RUNTIME_DIR"];
  const uid = process.getuid?.() ?? 0;
  const hasRuntime = runtime !== undefined && runtime !== "" && isOwn(runtime, uid);
  const base = hasRuntime ? join(runtime, "ioasis") : join(inMemory(), `ioasis-${uid}`);
  mkdirSync(base, { recursive: true, mode: 0o700 });
  const stat = lstatSync(base);
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0) {
    throw new DaemonError(`${base} is not a folder that this user alone can reach`);
  }
  return base;
}

/** The tree of a large host is tens of thousands of files: memory takes them in a blink. */
function inMemory(): string {
  try {
    accessSync("/dev/shm", constants.W_OK | constants.X_OK);
    return "/dev/shm";
  } catch {
    return "/tmp";
  }
}

function isOwn(path: string, uid: number): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && stat.uid === uid;
}

export function folderAt(base: string, name: string): DaemonFolder {
  const path = join(base, name);
  return {
    path,
    socket: join(path, "socket"),
    control: join(path, "control"),
    root: join(path, "root"),
  };
}

/** A new folder. @throws DaemonError when a living daemon has the name, or it is no name. */
export function makeFolder(base: string, facts: DaemonFacts): DaemonFolder {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$/.test(facts.name)) {
    throw new DaemonError(`"${facts.name}" is no name: letters, digits, dot, dash, underscore`);
  }
  const folder = folderAt(base, facts.name);
  if (Buffer.byteLength(folder.control) > SOCKET_PATH) {
    throw new DaemonError(`${base} is too long a path for sockets: set XDG_RUNTIME_DIR to another`);
  }
  try {
    mkdirSync(folder.path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new DaemonError(`a platform named "${facts.name}" is running`);
  }
  writeFileSync(join(folder.path, FACTS), JSON.stringify(facts), { mode: 0o600 });
  return folder;
}

export function removeFolder(folder: DaemonFolder): void {
  rmSync(folder.path, { recursive: true, force: true });
}

export interface FoundDaemon {
  readonly folder: DaemonFolder;
  readonly facts: DaemonFacts;
}

/** Living daemons by name; what dead ones left is removed. */
export function livingDaemons(base: string): FoundDaemon[] {
  const found: FoundDaemon[] = [];
  for (const name of readdirSync(base).sort()) {
    const folder = folderAt(base, name);
    const facts = readFacts(folder);
    if (facts !== undefined && startOf(facts.pid) === facts.started) found.push({ folder, facts });
    else if (facts !== undefined || isOld(folder.path)) removeFolder(folder);
  }
  return found;
}

/** Start of a process in ticks; undefined when there is none. */
export function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function readFacts(folder: DaemonFolder): DaemonFacts | undefined {
  try {
    return JSON.parse(readFileSync(join(folder.path, FACTS), "utf8")) as DaemonFacts;
  } catch {
    return undefined;
  }
}

/** Long enough ago that nobody is just making it. */
function isOld(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > 60_000;
}
