import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import {
  compile,
  doorSkip,
  platformFile,
  ROOT,
  runOn,
  scratchFolder,
} from "../support/door-run.js";

describe("a platform that is killed", { skip: doorSkip() }, () => {
  const scratch = scratchFolder("killed");
  after(scratch.remove);

  test("calls of its programs fail with EIO and do not hang", () => {
    const includes = [`-I${join(ROOT, "client")}`, `-I${join(ROOT, "examples/programs")}`];
    const source = join(ROOT, "test/door/daemon-killed.c");
    const program = compile(source, join(scratch.path, "daemon-killed"), ...includes);
    const ended = runOn(platformFile("t1"), [program], { limit: 20_000 });
    assert.equal(ended.stdout, "EIO\n");
    assert.equal(ended.status, null);
  });
});
