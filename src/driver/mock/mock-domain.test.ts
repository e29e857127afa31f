/** The mock's large pages: gone as a whole when partly unmapped, unless they were split before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeBdf } from "../../units/index.js";
import { MockDriver } from "./mock-driver.js";

const FLAGS = { nestParent: false, dirtyTracking: false, pasid: false, userAllocated: false };
/** 1 MiB in granules of 2 KiB, and an address that is aligned to it. */
const LARGE = 512;
const FIRST = 0x1000000 / 2048;

function mapped() {
  const driver = new MockDriver({ permit: () => true }, "6.12");
  const device = makeBdf(0, 1, 0, 0);
  driver.addDevice(device, { largePages: true });
  const domain = driver.allocPaging(device, FLAGS, undefined);
  domain.map(FIRST, LARGE * 4, LARGE, 3);
  return domain;
}

test("a part of a large page takes the whole with it", () => {
  const domain = mapped();
  assert.equal(domain.unmap(FIRST, 6), LARGE);
  assert.equal(domain.translate(FIRST + 6), undefined);
});

test("after a split the rest stays, and at a page's own boundary nothing changes", () => {
  const domain = mapped();
  domain.split(FIRST);
  domain.split(FIRST + 6);
  assert.equal(domain.unmap(FIRST, 6), 6);
  assert.equal(domain.translate(FIRST + 5), undefined);
  assert.equal(domain.translate(FIRST + 6), LARGE * 4 + 6);
});
