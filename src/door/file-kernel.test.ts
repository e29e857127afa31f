/** Faults that tasks ask for, refusals that are kept, memory that is charged. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readText, writeText } from "../../test/support/door.js";
import { FakeCall, FakeProcess } from "../../test/support/fake-call.js";
import { isRefusal, UapiError } from "../abi/index.js";
import { BUFFER_MEMORY } from "../files/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { type FileKernel, startPlatform } from "./index.js";

const READ_WRITE = 2;
const IOAS_ALLOC = 0x3b81;
const TEST_CMD = 0x3ba0;
const FAIL_NTH = "/proc/self/task/1/fail-nth";

function start(selftest?: "linux-7.2"): FileKernel {
  const node = {
    schema: "ioasis/platform/1",
    host: { selftest },
    iommu: { kind: "intel" },
    roots: [{ devices: [{ kind: "integrated-endpoint" }] }],
  };
  const platform = buildPlatform(readPlatform(JSON.parse(JSON.stringify(node))));
  return startPlatform(platform, { memory: BUFFER_MEMORY });
}

function ioas(call: FakeCall, kernel: FileKernel): number {
  const file = kernel.open(call, "/dev/iommu", READ_WRITE);
  const address = call.process.memory.alloc(16);
  call.process.memory.setU32(address, 12);
  try {
    return kernel.perform(call, "ioctl", () => file.ioctl?.(call, IOAS_ALLOC, address) ?? -1);
  } finally {
    file.release();
  }
}

test("the n-th allocation of a task fails, once, and its number reads 0 from then on", () => {
  const kernel = start("linux-7.2");
  const call = new FakeCall(new FakeProcess(), 1);
  writeText(kernel, "/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
  let points = 0;
  for (let n = 1; n < 1000; n++) {
    writeText(kernel, FAIL_NTH, String(n));
    const failed = (() => {
      try {
        ioas(call, kernel);
        return false;
      } catch (error) {
        assert.ok(isRefusal(error, "ENOMEM"), String(error));
        return true;
      }
    })();
    const left = readText(kernel, FAIL_NTH);
    assert.equal(left === "0\n", failed);
    if (!failed) break;
    points++;
  }
  assert.ok(points > 0 && points < 20, `${points} injection points`);
  writeText(kernel, FAIL_NTH, "0");
  assert.equal(readText(kernel, FAIL_NTH), "0\n");
});

test("what another task asks for does not count for this one", () => {
  const kernel = start("linux-7.2");
  writeText(kernel, "/proc/self/task/2/fail-nth", "1");
  assert.equal(ioas(new FakeCall(new FakeProcess(), 1), kernel), 0);
  assert.equal(readText(kernel, "/proc/self/task/2/fail-nth"), "1\n");
});

test("a platform of the kernel's own tests has the test command and injection, others have not", () => {
  const kernel = start("linux-7.2");
  const call = new FakeCall();
  const platform = start();
  const unknown = (where: FileKernel, path: string): string => {
    const file = where.open(call, path, READ_WRITE);
    const address = call.process.memory.alloc(72);
    call.process.memory.setU32(address, 72);
    call.process.memory.setU32(address + 4n, 99);
    try {
      where.perform(call, "test", () => file.ioctl?.(call, TEST_CMD, address), TEST_CMD);
      return "ok";
    } catch (error) {
      return UapiError.is(error) ? error.code : String(error);
    } finally {
      file.release();
    }
  };
  assert.equal(unknown(kernel, "/dev/iommu"), "EOPNOTSUPP");
  assert.equal(unknown(kernel, "/dev/iommu"), "EOPNOTSUPP");
  assert.equal(unknown(platform, "/dev/iommu"), "ENOTTY");
  assert.equal(kernel.lastRefusal(call.tid)?.command, TEST_CMD);
  assert.equal(kernel.lastRefusal(call.tid)?.sequence, 2n);
  assert.throws(() => readText(platform, FAIL_NTH), /ENOENT/);
});

test("locked memory is the user's over all its processes, pinned memory the process's", () => {
  const { accounts } = start("linux-7.2");
  const first = accounts.account(10, 1000, () => 16);
  const second = accounts.account(11, 1000, () => 16);
  assert.ok(first.userLocked.charge(10));
  assert.ok(!second.userLocked.charge(7));
  assert.ok(second.userLocked.charge(6));
  assert.ok(second.processLocked.charge(16));
  first.countPinned(3);
  first.countPinned(-1);
  assert.equal(accounts.pinnedKiB(10), 8);
  assert.equal(accounts.lockedKiB(11), 64);
  assert.equal(accounts.lockedByUser(1000), 16);
  assert.equal(accounts.pinnedKiB(12), 0);
});
