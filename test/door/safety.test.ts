/** Programs that misbehave, die or are cut off: the daemon and its other programs go on. */
import assert from "node:assert/strict";
import { chownSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { compile, doorSkip, ROOT, runOn, scratchFolder } from "../support/door-run.js";
import { ServedPlatform, type ServeOptions } from "../support/door-served.js";

const skip = doorSkip();
const PLATFORM = join(ROOT, "test/door/platform.yaml");
const NOBODY = 65534;
const isRoot = process.getuid?.() === 0;

describe("safety: programs against the daemon", { skip }, () => {
  const scratch = scratchFolder("safety");
  const served: ServedPlatform[] = [];
  after(async () => {
    for (const one of served) await one.stop();
    scratch.remove();
  });
  const built = new Map<string, string>();

  function program(name: string): string {
    const known = built.get(name);
    if (known !== undefined) return known;
    const folders = [`-I${join(ROOT, "client")}`, `-I${join(ROOT, "examples/programs")}`];
    const path = join(scratch.path, name);
    const source = join(ROOT, "test/door", `${name}.c`);
    compile(source, path, ...folders, "-lpthread");
    built.set(name, path);
    return path;
  }

  async function serve(options: ServeOptions): Promise<ServedPlatform> {
    const one = await ServedPlatform.start(options);
    served.push(one);
    return one;
  }

  function runtime(name: string): string {
    const path = join(scratch.path, name);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  test("raw frames: only their connection is cut, nothing is left of them", async () => {
    const served = await serve({ runtime: runtime("wrong"), platform: PLATFORM });
    const witness = (): void => {
      const ended = served.run([program("cycles"), "2"]);
      assert.equal(ended.stderr + ended.stdout, "2 cycles\n");
    };
    witness();
    const before = await served.descriptors();
    const seed = 7;
    const modes = [
      ["greet", 200],
      ["packets", 200],
      ["slots", 1500],
      ["needs", 1500],
      ["hoard", 100],
      ["shrink", 1],
    ] as const;
    for (const [mode, count] of modes) {
      const line = [program("raw-frames"), mode, String(seed), String(count)];
      const ended = served.runPlain(line);
      assert.equal(ended.status, 0, `${line.join(" ")}: ${ended.stderr}`);
      // The channel's size is sealed; more descriptors than a call may name are too many.
      if (mode === "shrink") assert.equal(ended.stdout, "EPERM\n");
      if (mode === "hoard") assert.equal(ended.stdout, "cut\n");
      assert.ok(served.isAlive, `${line.join(" ")} ended the daemon: ${served.complaints}`);
      witness();
      assert.equal(await served.descriptors(), before, `descriptors after ${line.join(" ")}`);
    }
    assert.equal(await served.stop(), 0);
  });

  test("programs that come and go leave no descriptors and no memory", async () => {
    const served = await serve({ runtime: runtime("many"), platform: PLATFORM });
    assert.equal(served.run([program("cycles"), "2000"]).stdout, "2000 cycles\n");
    const descriptors = await served.descriptors();
    const memory = served.residentKiB();
    const ended = served.run([program("cycles"), "1000"]);
    assert.equal(ended.stdout, "1000 cycles\n", ended.stderr);
    assert.equal(await served.descriptors(), descriptors);
    // By now the heap has its size; 1,000 leaked files with their address spaces would be more.
    assert.ok(served.residentKiB() - memory < 96 * 1024, "memory of the daemon grows");
    assert.equal(await served.stop(), 0);
  });

  test("a daemon that is killed: calls of every kind end with EIO, none hangs", () => {
    // A folder of its own: the next daemon anywhere else would tidy up what the killed one left.
    const env = { XDG_RUNTIME_DIR: runtime("killed") };
    const { stdout } = runOn(PLATFORM, [program("orphans")], { limit: 20_000, env });
    const kinds = ["open", "read", "ioctl", "map", "mmap", "sysfs", "later", "write"];
    const lines = kinds.map((kind) => `${kind}: EIO\n`).join("");
    assert.equal(stdout, `0 ended while the daemon stood still\n${lines}none hangs\n`);
  });

  test("programs killed at random points leave nothing", () => {
    const ended = runOn(PLATFORM, [program("kills"), "20210609", "40"]);
    assert.equal(ended.stderr + ended.stdout, "40 killed\n");
  });

  test("64 threads in each of 4 processes at once: all answers, no memory is touched", () => {
    const ended = runOn(PLATFORM, [program("random-calls"), "20210609", "40", "64", "4"]);
    assert.equal(ended.status, 0, ended.stderr);
    const counts = [...ended.stdout.matchAll(/[a-zA-Z?0-9]+ (\d+)/g)].map(([, n]) => Number(n));
    assert.equal(
      counts.reduce((sum, n) => sum + n, 0),
      40 * 64 * 4,
      ended.stdout,
    );
  });

  test("another user is turned away", { skip: !isRoot && "needs root" }, async () => {
    const own = runtime("theirs");
    chownSync(own, NOBODY, NOBODY);
    const served = await serve({ runtime: own, platform: PLATFORM, uid: NOBODY });
    const line = [program("raw-frames"), "connect", "1", "1"];
    assert.equal(served.runPlain(line, { uid: NOBODY }).stdout, "welcome\n");
    assert.equal(served.runPlain(line, { uid: NOBODY - 1 }).stdout, "EACCES\n");
    // Root passes all modes of files; the kernel's word on who connects is what is left.
    assert.equal(served.runPlain(line).stdout, "cut\n");
    assert.equal(await served.stop(), 0);
    assert.match(served.complaints, /turned away: user 0 is not 65534/);
  });

  test("commands end with a sentence, whatever fails", () => {
    const end = (args: readonly string[], env: Record<string, string> = {}) =>
      runOn(PLATFORM, args, { limit: 20_000, env });
    const long = join(scratch.path, "x".repeat(120));
    mkdirSync(long, { mode: 0o700 });
    const tooLong = end(["true"], { XDG_RUNTIME_DIR: long });
    assert.match(tooLong.stderr, /^ioasis: .* is too long a path for sockets.*\n$/);
    assert.equal(tooLong.status, 2);
    assert.deepEqual(readdirSync(join(long, "ioasis")), []);
  });
});
