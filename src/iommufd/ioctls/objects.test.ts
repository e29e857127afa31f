/** Destroying, options and the compatibility space through bytes: Linux main.c, vfio_compat.c. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../../src/abi/index.js";
import { Program, sized, u32At, u64At } from "../../../test/support/iommufd-file.js";

const DESTROY = 0x3b80;
const OPTION = 0x3b87;
const VFIO_IOAS = 0x3b88;
const SET = 0;
const GET = 1;

const option = (id: number, op: number, object: number, value: bigint, reserved = 0) =>
  sized(id, [2, op], [2, reserved], object, value);

describe("IOMMU_DESTROY", () => {
  it("frees an id for the next object", () => {
    const p = new Program();
    p.refused("ENOENT", DESTROY, sized(0));
    p.refused("ENOENT", DESTROY, sized(1));
    assert.equal(p.ioasAlloc(), 1);
    assert.equal(p.ioasAlloc(), 2);
    p.ok(DESTROY, sized(1));
    assert.equal(p.ioasAlloc(), 1);
    p.refused("EBUSY", DESTROY, sized(p.bind()));
  });
});

describe("IOMMU_OPTION", () => {
  it("is for known options, and writes back the value only", () => {
    const p = new Program();
    p.refused("EOPNOTSUPP", OPTION, option(0, GET, 0, 0n, 1));
    p.refused("EOPNOTSUPP", OPTION, option(2, GET, 0, 0n));
    p.refused("EOPNOTSUPP", OPTION, option(0, 2, 0, 0n));
    p.refused("EOPNOTSUPP", OPTION, option(0, GET, 1, 0n));
    const { memory } = p.process;
    const at = memory.allocPages(2) + 4096n - 16n;
    memory.at(at, 24).set(option(0, GET, 0, 9n));
    memory.protect(at - 4080n, 4096);
    assert.equal(p.call.ioctl(p.file, OPTION, at), 0);
    assert.equal(memory.u64(at + 16n), 0n);
    memory.protect(at + 16n, 4096);
    assert.equal(p.call.ioctl(p.file, OPTION, at), -ERRNO.EFAULT);
  });

  it("sets the accounting mode of an empty context, with the right to", () => {
    const p = new Program();
    p.process.mayRaiseLimits = false;
    p.refused("EPERM", OPTION, option(0, SET, 0, 7n));
    p.process.mayRaiseLimits = true;
    p.refused("EINVAL", OPTION, option(0, SET, 0, 7n));
    p.ok(OPTION, option(0, SET, 0, 1n));
    assert.equal(u64At(p.ok(OPTION, option(0, GET, 0, 0n)), 16), 1n);
    p.ioasAlloc();
    p.refused("EBUSY", OPTION, option(0, SET, 0, 7n));
  });

  it("switches large pages of a space", () => {
    const p = new Program();
    const ioas = p.ioasAlloc();
    p.refused("ENOENT", OPTION, option(1, GET, 9, 0n));
    p.refused("EOPNOTSUPP", OPTION, option(1, 2, ioas, 0n));
    p.refused("EINVAL", OPTION, option(1, SET, ioas, 2n));
    assert.equal(u64At(p.ok(OPTION, option(1, GET, ioas, 0n)), 16), 1n);
    p.ok(OPTION, option(1, SET, ioas, 0n));
    assert.equal(u64At(p.ok(OPTION, option(1, GET, ioas, 9n)), 16), 0n);
    const va = p.process.memory.allocPages(1);
    p.refused("EINVAL", 0x3b85, sized(7, ioas, 0, va, 2048n, 0x2000000n));
    p.ok(OPTION, option(1, SET, ioas, 1n));
    p.ok(0x3b85, sized(7, ioas, 0, va, 2048n, 0x2000000n));
    p.refused("EADDRINUSE", OPTION, option(1, SET, ioas, 0n));
  });
});

describe("IOMMU_VFIO_IOAS", () => {
  it("reads, sets and clears the space; only reading writes back", () => {
    const p = new Program();
    const vfio = (id: number, op: number, reserved = 0) => sized(id, [2, op], [2, reserved]);
    p.refused("EOPNOTSUPP", VFIO_IOAS, vfio(0, 0, 1));
    p.refused("EOPNOTSUPP", VFIO_IOAS, vfio(0, 3));
    p.refused("ENODEV", VFIO_IOAS, vfio(0, 0));
    p.refused("ENOENT", VFIO_IOAS, vfio(1, 1));
    p.ok(VFIO_IOAS, vfio(7, 2));
    const ioas = p.ioasAlloc();
    p.ok(VFIO_IOAS, vfio(ioas, 1));
    assert.equal(u32At(p.ok(VFIO_IOAS, vfio(0, 0)), 4), ioas);
    p.ok(VFIO_IOAS, vfio(0, 2));
    p.refused("ENODEV", VFIO_IOAS, vfio(0, 0));
    p.ok(VFIO_IOAS, vfio(ioas, 1));
    p.ok(DESTROY, sized(ioas));
    p.refused("ENODEV", VFIO_IOAS, vfio(0, 0));
  });
});
