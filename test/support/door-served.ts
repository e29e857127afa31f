/** A platform that is served, and programs that join it by their environment. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Ended, ROOT } from "./door-run.js";

const BIN = join(ROOT, "bin/ioasis.js");
const LIMIT_MS = 120_000;

export interface ServeOptions {
  /** Folder for the sockets: this user's alone. */
  readonly runtime: string;
  readonly platform: string;
  readonly uid?: number;
}

export class ServedPlatform {
  readonly pid: number;
  readonly socket: string;
  readonly #process: ChildProcess;
  readonly #joined: Readonly<Record<string, string>>;
  readonly #said: () => string;

  private constructor(process: ChildProcess, text: string, said: () => string) {
    this.pid = process.pid ?? -1;
    this.#process = process;
    this.#said = said;
    this.#joined = Object.fromEntries(
      [...text.matchAll(/^ {2}([A-Z_]+)=(.*)$/gm)].map((found) => [found[1] ?? "", found[2] ?? ""]),
    );
    this.socket = this.#joined["IOASIS_SOCKET"] ?? "";
  }

  static async start({ runtime, platform, uid }: ServeOptions): Promise<ServedPlatform> {
    const child = spawn(process.execPath, [BIN, "serve", "--platform", platform], {
      env: { ...process.env, XDG_RUNTIME_DIR: runtime, NO_COLOR: "1" },
      stdio: ["ignore", "ignore", "pipe"],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    let text = "";
    child.stderr?.on("data", (data: Buffer) => {
      text += data.toString();
    });
    while (!/IOASIS_ROOT=.*\n/.test(text)) {
      if (child.exitCode !== null) throw new Error(`serve ended: ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return new ServedPlatform(child, text, () => text);
  }

  /** Runs a program on the platform. */
  run(command: readonly string[]): Ended {
    return start(command, { ...process.env, ...this.#joined, LC_ALL: "C" });
  }

  /** Runs a program that has the address of the platform, and not the client library. */
  runPlain(command: readonly string[], as: { uid?: number } = {}): Ended {
    return start(command, { ...process.env, IOASIS_SOCKET: this.socket }, as.uid);
  }

  /** A program that runs beside others. */
  spawn(command: readonly string[]): ChildProcess {
    const [program = "", ...args] = command;
    const env = { ...process.env, ...this.#joined, LC_ALL: "C" };
    return spawn(program, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  }

  /** Open descriptors of the daemon, when it has noticed who is gone. */
  async descriptors(): Promise<number> {
    let last = -1;
    for (;;) {
      const now = readdirSync(`/proc/${this.pid}/fd`).length;
      if (now === last) return now;
      last = now;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** KiB of memory that the daemon has of its own; shared pages count as well. */
  residentKiB(): number {
    const text = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  }

  get isAlive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** What the daemon said after its first lines. */
  get complaints(): string {
    return this.#said().split(/IOASIS_ROOT=.*\n/)[1] ?? "";
  }

  /** @returns its exit code. */
  async stop(): Promise<number | null> {
    if (this.isAlive) {
      this.#process.kill("SIGTERM");
      await once(this.#process, "exit");
    }
    return this.#process.exitCode;
  }
}

function start(command: readonly string[], env: NodeJS.ProcessEnv, uid?: number): Ended {
  const [program = "", ...args] = command;
  const result = spawnSync(program, args, {
    encoding: "utf8",
    env,
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  return { status: result.status, stdout: result.stdout ?? "", stderr: result.stderr ?? "" };
}
