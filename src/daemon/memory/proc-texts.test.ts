/** What /proc says, read from texts in the kernel's form. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readMaps } from "./process-maps.io.js";
import { rightsFrom } from "./rights.io.js";

const MAPS = `55d0c0000000-55d0c0002000 r--p 00000000 fe:01 123 /usr/bin/cat
55d0c0002000-55d0c0003000 rw-p 00002000 fe:01 123 /usr/bin/cat
7f0000000000-7f0000001000 ---p 00000000 00:00 0
7ffd00000000-7ffd00004000 r--p 00000000 00:00 0 [vvar]
`;

test("mapped runs with their rights; pages of the kernel have none", () => {
  const runs = readMaps(MAPS);
  assert.deepEqual(
    runs.map(({ first, end, isReadable, isWritable }) => [end - first, isReadable, isWritable]),
    [
      [2, true, false],
      [1, true, true],
      [1, false, false],
      [4, false, false],
    ],
  );
  assert.equal(runs[0]?.first, 0x55d0c0000);
});

test("rights and limits; a process that is gone has none", () => {
  const status = "Name:\tx\nUid:\t1000\t1001\t1000\t1000\nCapEff:\t0000000000024000\n";
  const limits = "Max locked memory         8388608              unlimited            bytes\n";
  assert.deepEqual(rightsFrom(status, limits), {
    uid: 1001,
    mayLockMemory: true,
    mayRawIo: true,
    mayRaiseLimits: false,
    lockLimit: 2048,
  });
  const none = rightsFrom("", "");
  assert.deepEqual([none.mayLockMemory, none.lockLimit], [false, 0]);
  const unlimited = rightsFrom("", "Max locked memory  unlimited unlimited bytes");
  assert.equal(unlimited.lockLimit, Number.POSITIVE_INFINITY);
});
