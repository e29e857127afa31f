/** Platform files among the sources of a capture. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { analyse } from "../../isolation/index.js";
import { buildFabric } from "../../pcie/index.js";
import { type buildPlatform, PlatformError } from "../../platform/index.js";
import { formatBdf, InputError } from "../../units/index.js";
import {
  type Capture,
  fromCapture,
  looksLikePlatform,
  readCaptureFile,
  writeCaptureFile,
} from "../index.js";
import { PLATFORM_FILE_LIMIT } from "./limits.js";
import { loadCapture } from "./load.io.js";
import { loadPlatform } from "./scenario-file.io.js";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const EXAMPLES = join(ROOT, "examples/platforms");
const folder = mkdtempSync(join(tmpdir(), "ioasis-platform-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

const examples = readdirSync(EXAMPLES)
  .filter((name) => name.endsWith(".yaml"))
  .map((name) => join(EXAMPLES, name));

const PLATFORM = `schema: ioasis/platform/1
roots:
  - devices:
      - kind: root-port
        below:
          - { kind: endpoint, name: card, id: "8086:10d3" }
`;
const LSPCI = `00:00.0 Host bridge [0600]: Intel Corporation Device [8086:29c0]
\tControl: I/O+ Mem+ BusMaster+
\tIOMMU group: 4
`;

const addresses = (capture: Capture): string[] => capture.functions.map((f) => formatBdf(f.bdf));

function groupsOf({ functions, facts }: ReturnType<typeof buildPlatform>): unknown {
  return analyse(buildFabric({ functions }), facts, { rules: "linux-7.2" }).partition.groups;
}

test("every example loads as a source and gives what building it gives", async () => {
  assert.ok(examples.length >= 4);
  for (const file of examples) {
    const built = (await loadPlatform(file)).platform;
    const capture = await loadCapture([file]);
    assert.deepEqual(capture.parts, [{ kind: "platform", place: { file } }]);
    assert.equal(capture.recorded, null);
    assert.equal(capture.rules, built.rules);
    assert.deepEqual(capture.notes, []);
    const { fabric, facts } = fromCapture(capture);
    assert.deepEqual(groupsOf({ ...built, functions: fabric.functions, facts }), groupsOf(built));
    assert.equal(facts.kernel, built.facts.kernel);
    const byBdf = new Map(capture.functions.map((f) => [f.bdf, f]));
    for (const [name, bdf] of built.names) assert.equal(byBdf.get(bdf)?.name, name);
  }
});

test("JSON, standard input, a directory and an archive", async () => {
  const json = JSON.stringify({
    schema: "ioasis/platform/1",
    roots: [{ devices: [{ kind: "endpoint" }] }],
  });
  const utf16 = Buffer.from(`\ufeff${json}`, "utf16le");
  for (const text of [json, json.replaceAll(",", ",\n  "), `\ufeff${json}`, utf16])
    assert.deepEqual(addresses(await loadCapture([write("p.json", text)])), ["0000:00:01.0"]);
  const wanted = addresses(await loadCapture([write("a/p.yaml", PLATFORM)]));
  assert.deepEqual(wanted, ["0000:00:01.0", "0000:01:00.0"]);
  const stdin = (): Uint8Array => Buffer.from(PLATFORM.replaceAll("\n", "\r\n"));
  assert.deepEqual(addresses(await loadCapture(["-"], { stdin })), wanted);
  write("a/copy.yaml", PLATFORM);
  assert.deepEqual(addresses(await loadCapture([join(folder, "a")])), wanted);
  const tar = execFileSync("tar", ["czf", "-", "-C", join(folder, "a"), "."]);
  assert.deepEqual(addresses(await loadCapture([write("a.tgz", tar)])), wanted);
});

test("a capture file made of a platform holds the same functions", async () => {
  const capture = await loadCapture(examples.slice(0, 1));
  const text = writeCaptureFile(capture, { toolVersion: "1", redacted: false });
  const again = readCaptureFile(text, "f");
  assert.deepEqual(addresses(again), addresses(capture));
  assert.equal(again.parts[0]?.kind, "platform");
});

test("what says that it is a platform is one; what speaks of them is none", () => {
  for (const text of [
    PLATFORM,
    `# a comment\n---\n${PLATFORM}`,
    `'schema': "ioasis/platform/2"\n`,
    '{"name": "x", "schema":"ioasis/platform/1"}',
  ]) {
    assert.ok(looksLikePlatform(text), text);
  }
  for (const text of [
    "See ioasis/platform/1 for the format.\n",
    'the line "schema": "ioasis/platform/1" says so',
    `Dear list,\n\n> ${PLATFORM.replaceAll("\n", "\n> ")}`,
    "schema: ioasis/capture/1\n",
    "",
  ]) {
    assert.ok(!looksLikePlatform(text), text);
  }
  const busy = `{${"\n#".repeat(60_000)}ioasis/platform/`;
  assert.ok(!looksLikePlatform(busy));
});

const isProblem = (error: unknown, ...words: RegExp[]): boolean => {
  assert.ok(InputError.is(error), String(error));
  for (const word of words) assert.match(error.message, word);
  return true;
};

test("problems come all together, with file, line and field", async () => {
  const text = PLATFORM.replace("root-port", "rootport").replace("8086:10d3", "8086");
  const file = write("bad.yaml", text);
  await assert.rejects(loadCapture([file]), (error) => {
    assert.ok(error instanceof PlatformError && error.problems.length === 2);
    return isProblem(
      error,
      /bad\.yaml:4: roots\[0\]\.devices\[0\]\.kind: .*expected one of root-port/,
      /bad\.yaml:6: roots\[0\]\.devices\[0\]\.below\[0\]\.id: .*; expected/,
    );
  });
});

test("refusals name what is wrong", async () => {
  const refuse = async (sources: string[], ...words: RegExp[]): Promise<void> => {
    await assert.rejects(loadCapture(sources), (error) => isProblem(error, ...words));
  };
  const version = PLATFORM.replace("platform/1", "platform/9");
  await refuse([write("v.yaml", version)], /v\.yaml:1: schema: .*expected "ioasis\/platform\/1"/);
  await refuse([write("y.yaml", `${PLATFORM}  - [`)], /y\.yaml:\d+: /);
  const long = `${PLATFORM}# ${"x".repeat(PLATFORM_FILE_LIMIT)}\n`;
  await refuse([write("long.yaml", long)], /long\.yaml: too large for a platform file/);
  const other = write("o.yaml", PLATFORM.replace("8086:10d3", "8086:1533"));
  await refuse([write("p.yaml", PLATFORM), other], /p\.yaml and .*o\.yaml show different states/);
});

const FROM = "schema: ioasis/platform/1\nfrom: capture.txt\nhost: { rules: linux-6.1 }\n";

test("a platform that starts from a capture: its functions, and no recorded groups", async () => {
  const capture = write("from/capture.txt", LSPCI);
  const plain = await loadCapture([capture]);
  assert.equal(plain.recorded?.groups.length, 1);
  const built = await loadCapture([write("from/host.yaml", FROM)]);
  assert.deepEqual(built.functions, plain.functions);
  assert.equal(built.recorded, null);
  assert.equal(built.rules, "linux-6.1");
  const both = await loadCapture([join(folder, "from")]);
  assert.deepEqual(addresses(both), addresses(plain));
});

test("what a platform may start from", async () => {
  const refuse = async (name: string, text: string, word: RegExp): Promise<void> => {
    await assert.rejects(loadCapture([write(name, text)]), (error) => isProblem(error, word));
  };
  await refuse("start/no.yaml", FROM, /start\/capture\.txt: cannot be opened/);
  await refuse(
    "start/self.yaml",
    FROM.replace("capture.txt", "self.yaml"),
    /self\.yaml: a platform/,
  );
  write("packed/capture.txt", LSPCI);
  write("packed/host.yaml", FROM);
  const tar = execFileSync("tar", ["cf", "-", "-C", join(folder, "packed"), "."]);
  await assert.rejects(loadCapture([write("packed.tar", tar)]), (error) =>
    isProblem(error, /host\.yaml:2: from: a platform in an archive names other files/),
  );
});
