/** Dispatch of /dev/iommu: facts of Linux main.c, through bytes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO, IOMMUFD_IOCTLS } from "../../src/abi/index.js";
import { IommufdFile } from "../../src/iommufd/index.js";
import { Program, sized, struct, u32At, u64At } from "../../test/support/iommufd-file.js";

const IOAS_ALLOC = 0x3b81;
const MAP = 0x3b85;

describe("dispatch", () => {
  it("reads the size word before it looks at the command", () => {
    const p = new Program();
    const at = p.process.memory.allocPages(1);
    p.process.memory.unmap(at, 4096);
    assert.equal(p.call.ioctl(p.file, 0x3b95, at), -ERRNO.ENOTTY);
    assert.equal(p.call.ioctl(p.file, 0x3c80, at), -ERRNO.EFAULT);
    assert.equal(p.call.ioctl(p.file, IOAS_ALLOC, at), -ERRNO.EFAULT);
  });

  it("knows calls by all 32 bits of the command", () => {
    const p = new Program();
    for (const command of [0x3b7f, 0x3b95, 0x3ba0, 0x3ba1, 0x3c81, 0xc0083b81, 0x4000_3b81, 0]) {
      p.refused("ENOTTY", command, sized(0, 0));
    }
  });

  it("has the least and the whole size of every call, and refuses what is above", () => {
    for (const [name, { command, size, minSize, argument }] of Object.entries(IOMMUFD_IOCTLS)) {
      assert.equal(argument, "size", name);
      const p = new Program();
      const small = new Uint8Array(minSize - 1 < 4 ? 4 : minSize - 1);
      new DataView(small.buffer).setUint32(0, small.length, true);
      p.refused("EINVAL", command, small);
      const large = new Uint8Array(size + 1);
      new DataView(large.buffer).setUint32(0, large.length, true);
      large[size] = 1;
      p.refused("E2BIG", command, large);
    }
  });

  it("takes a longer struct that ends in zeros, and copies back what it knows", () => {
    const p = new Program();
    const bytes = new Uint8Array(5000);
    new DataView(bytes.buffer).setUint32(0, bytes.length, true);
    p.ok(IOAS_ALLOC, bytes);
    assert.equal(u32At(bytes, 8), 1);
  });

  it("finds a byte beyond the struct before the hole behind it, and the hole before that byte", () => {
    const p = new Program();
    const { memory } = p.process;
    const at = memory.allocPages(2);
    memory.unmap(at + 4096n, 4096);
    memory.setU32(at, 8192);
    assert.equal(p.call.ioctl(p.file, IOAS_ALLOC, at), -ERRNO.EFAULT);
    memory.at(at + 4095n, 1)[0] = 1;
    assert.equal(p.call.ioctl(p.file, IOAS_ALLOC, at), -ERRNO.E2BIG);
  });

  it("undoes the object when the answer cannot be copied back", () => {
    const p = new Program();
    const { memory } = p.process;
    const at = memory.allocPages(1);
    memory.at(at, 12).set(sized(0, 0));
    memory.protect(at, 4096);
    assert.equal(p.call.ioctl(p.file, IOAS_ALLOC, at), -ERRNO.EFAULT);
    assert.equal(p.file.iommufd.state.objects.size, 0);
    assert.equal(p.ioasAlloc(), 1);
  });

  it("leaves a mapping whose address could not be told", () => {
    const p = new Program();
    const { memory } = p.process;
    const ioas = p.ioasAlloc();
    const at = memory.allocPages(1);
    memory.at(at, 40).set(sized(7, ioas, 0, 0x10000000n, 4096n, 0x100000n));
    memory.protect(at, 4096);
    assert.equal(p.call.ioctl(p.file, MAP, at), -ERRNO.EFAULT);
    assert.equal(p.file.iommufd.ioas(ioas).space.areas.size, 1);
  });
});

describe("the life of a context", () => {
  it("goes on while a queue's file is open", () => {
    const p = new Program();
    const bytes = p.ok(0x3b8e, sized(0, 0, 0));
    const fd = p.call.lastDescriptor?.fd ?? -1;
    assert.equal(p.call.lastDescriptor?.closeOnExec, true);
    assert.equal(u32At(bytes, 8), 1);
    p.refused("EBUSY", 0x3b80, sized(1));
    p.file.release();
    assert.equal(p.file.context.holders, 1);
    p.process.close(fd);
    assert.equal(p.file.context.holders, 0);
  });

  it("charges the process where the container's node was opened", () => {
    const p = new Program();
    const file = new IommufdFile(p.system, {}, p.process, { node: "vfio" });
    const bytes = sized(0, [2, 1], [2, 0], 0, 0n);
    assert.equal(p.call.ioctlBytes(file, 0x3b87, bytes), 0);
    assert.equal(u64At(bytes, 16), 1n);
    assert.equal(file.label, "/dev/vfio/vfio");
  });

  it("has no read, write or poll", () => {
    const p = new Program();
    assert.equal(p.call.read(p.file, 8), -ERRNO.EINVAL);
    assert.equal(p.call.write(p.file, struct(0, 0)), -ERRNO.EINVAL);
  });
});
