/** Each lesson of examples/programs does what it says, as root and as anybody. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { compile, doorSkip, ROOT, runOn, scratchFolder } from "../support/door-run.js";

const FOLDER = join(ROOT, "examples/programs");
const skip = doorSkip();

/** From the head of the source: how it is run. */
function recipe(source: string): { readonly platform: string; readonly args: readonly string[] } {
  const line = /ioasis run --platform \.\.\/(\S+) -- \.\/\S+(.*)$/m.exec(source);
  assert.ok(line, "the head of a lesson says how to run it");
  return {
    platform: join(ROOT, "examples", line[1] as string),
    args: (line[2] as string).trim().split(/\s+/),
  };
}

describe("programs: each lesson through the door", { skip }, () => {
  const scratch = scratchFolder("programs");
  after(scratch.remove);
  const restricted = skip === false ? buildRestricted(scratch.path) : "";
  for (const name of readdirSync(FOLDER).filter((one) => one.endsWith(".c"))) {
    const file = join(FOLDER, name);
    const expected = file.replace(/\.c$/, ".expected");

    for (const restrictedBy of [undefined, restricted]) {
      const who = restrictedBy === undefined ? "as the user of the tests" : "as anybody";
      test(`${name}, ${who}`, () => {
        const { platform, args } = recipe(readFileSync(file, "utf8"));
        const program = join(scratch.path, name.replace(/\.c$/, ""));
        if (!existsSync(program)) compile(file, program, `-I${join(ROOT, "client")}`);
        const options = restrictedBy === undefined ? {} : { restrictedBy };
        const ended = runOn(platform, [program, ...args], options);
        assert.equal(ended.stderr, "");
        assert.equal(ended.stdout, readFileSync(expected, "utf8"));
        assert.equal(ended.status, 0);
      });
    }
  }
});

function buildRestricted(folder: string): string {
  return compile(join(ROOT, "test/door/restricted.c"), join(folder, "restricted"));
}
