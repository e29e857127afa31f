/** `ioasis run` as a program sees it: arguments, input, signals, exit codes, nothing left behind.
 * */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const COMMAND = join(ROOT, "dist", "src", "cli", "main.js");
const hasCompiler = spawnSync("cc", ["--version"]).status === 0;
const skip = hasCompiler ? false : "no C compiler";

const runtime = mkdtempSync(join(tmpdir(), "ioasis-run-"));
chmodSync(runtime, 0o700);
const entry = join(runtime, "ioasis.mjs");
const env = { ...process.env, XDG_RUNTIME_DIR: runtime };

before(() => {
  const text = `import { main } from ${JSON.stringify(COMMAND)};
process.exitCode = await main(process.argv.slice(2));`;
  writeFileSync(entry, text);
});

after(() => rmSync(runtime, { recursive: true }));

function ioasis(args: readonly string[], input = ""): ReturnType<typeof spawnSync> {
  return spawnSync(process.execPath, [entry, ...args], { env, input, encoding: "utf8" });
}

const leftOver = (): string[] => readdirSync(join(runtime, "ioasis"));

test("arguments, input, output and exit code are the program's", { skip }, () => {
  const script = 'cat; printf "%s|" "$0" "$@"; echo oops >&2; exit 7';
  const run = ioasis(["run", "--", "sh", "-c", script, "a b", "--json", "-x"], "typed\n");
  assert.equal(run.stdout, "typed\na b|--json|-x|");
  assert.equal(run.stderr, "oops\n");
  assert.equal(run.status, 7);
  assert.deepEqual(leftOver(), []);
});

test("a program that a signal ended gives 128 and the signal", { skip }, () => {
  assert.equal(ioasis(["run", "--", "sh", "-c", "kill -TERM $$"]).status, 143);
  assert.equal(ioasis(["run", "--", "sh", "-c", "kill -KILL $$"]).status, 137);
  assert.deepEqual(leftOver(), []);
});

test("a signal goes to the program", { skip }, async () => {
  const script = "trap 'echo caught; exit 5' TERM; echo up; while :; do sleep 0.02; done";
  const child = spawn(process.execPath, [entry, "run", "--", "sh", "-c", script], { env });
  const out = collect(child);
  await out.until("up\n");
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  assert.equal(code, 5);
  assert.equal(out.text(), "up\ncaught\n");
});

test("programs that cannot be reached are refused by name of the reason", { skip }, () => {
  const source = join(runtime, "plain.c");
  writeFileSync(source, "int main(void) { return 0; }\n");
  execFileSync("cc", ["-static", "-o", join(runtime, "static"), source]);
  const fixed = ioasis(["run", "--", join(runtime, "static")]);
  assert.equal(fixed.status, 126);
  assert.match(String(fixed.stderr), /statically linked/);
  const none = ioasis(["run", "--", "no-such-program"]);
  assert.equal(none.status, 127);
  assert.match(String(none.stderr), /no-such-program: not found/);
});

test("a wrong platform or name is one line", { skip }, () => {
  const none = ioasis(["run", "--platform", "no-such", "--", "true"]);
  assert.equal(none.status, 2);
  assert.match(String(none.stderr), /^ioasis: no platform "no-such".*\n$/);
  const wrong = join(runtime, "wrong.yaml");
  writeFileSync(wrong, "schema: ioasis/platform/1\nroots: 7\n");
  const run = ioasis(["run", "--platform", wrong, "--", "true"]);
  assert.equal(run.status, 2);
  assert.match(String(run.stderr), /wrong\.yaml/);
  assert.equal(ioasis(["run", "--name", "nobody", "--", "true"]).status, 2);
  assert.deepEqual(leftOver(), []);
});

test("several programs on one platform; ps and why tell of it", { skip }, async () => {
  const server = spawn(process.execPath, [entry, "serve", "--name", "lab"], { env });
  const out = collect(server);
  await out.until("environment");
  const list = ioasis(["run", "--name", "lab", "--", "ls", "/sys/kernel/iommu_groups"]);
  assert.equal(list.stdout, "0\n1\n2\n");
  const refused = ioasis(["run", "--name", "lab", "--", "cat", "/dev/vfio/99"]);
  assert.equal(refused.status, 1);
  const write = "echo 0000:99:00.0 > /sys/bus/pci/drivers/vfio-pci/bind";
  assert.notEqual(ioasis(["run", "--name", "lab", "--", "sh", "-c", write]).status, 0);
  assert.match(String(ioasis(["why", "lab"]).stdout), /: ENODEV\n/);
  const status = JSON.parse(String(ioasis(["ps", "--json"]).stdout));
  assert.equal(status.platforms[0].name, "lab");
  assert.ok(status.platforms[0].calls > 0);
  server.kill("SIGTERM");
  assert.equal((await once(server, "exit"))[0], 0);
  assert.deepEqual(leftOver(), []);
});

test("what a killed daemon left is removed, and its programs get EIO", { skip }, async () => {
  const script = "exec 3< /sys/bus/pci/devices/0000:00:01.0/vendor; echo up; read x <&3; sleep 0.1";
  const child = spawn(process.execPath, [entry, "run", "--", "sh", "-c", script], { env });
  await collect(child).until("up\n");
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(leftOver().length, 1);
  assert.equal(ioasis(["ps"]).status, 0);
  assert.deepEqual(leftOver(), []);
});

/** What a program writes, on both outputs. */
function collect(child: ChildProcess): { text(): string; until(part: string): Promise<void> } {
  let text = "";
  const add = (data: Buffer): void => {
    text += data.toString();
  };
  child.stdout?.on("data", add);
  child.stderr?.on("data", add);
  return {
    text: () => text,
    until: async (part) => {
      while (!text.includes(part)) {
        if (child.exitCode !== null) throw new Error(`ended: ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}
