/** Device files: nothing before they are bound, bound once, and let go by closing only. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  at,
  failed,
  long,
  STUB,
  VfioBench,
  wide,
  word,
  words,
} from "../../test/support/vfio-machine.js";

const BIND = 0x3b76;
const ATTACH = 0x3b77;
const DETACH = 0x3b78;
const GET_INFO = 0x3b6b;
const GET_REGION = 0x3b6c;
const GET_IRQ = 0x3b6d;
const RESET = 0x3b6f;
const IOAS_ALLOC = 0x3b81;
const CONFIG = 7;

function ioas(bench: VfioBench, iommufd: number): number {
  const struct = words(12, 0, 0);
  assert.equal(bench.ioctl(iommufd, IOAS_ALLOC, struct), 0);
  return word(struct, 2);
}

describe("a device before it is bound", () => {
  it("answers nothing but the call that binds it", () => {
    const bench = new VfioBench();
    const fd = bench.device("engine");
    for (const command of [GET_INFO, GET_REGION, RESET, ATTACH, DETACH, 0x1234]) {
      failed(bench.ioctl(fd, command, words(64, 0, 0, 0, 0, 0, 0, 0)), "EINVAL");
    }
    failed(bench.call.read(bench.file(fd), 4, at(CONFIG)), "EINVAL");
    failed(bench.call.write(bench.file(fd), new Uint8Array(4), at(CONFIG)), "EINVAL");
    const request = { length: 4096n, protection: 3, flags: 1, offset: at(0) };
    failed(bench.call.mmap(bench.file(fd), request), "EINVAL");
  });
});

describe("binding", () => {
  it("refuses in the kernel's order", () => {
    const bench = new VfioBench();
    const fd = bench.device("engine");
    const iommufd = bench.iommufd();
    failed(bench.value(fd, BIND, 0x1n), "EFAULT");
    failed(bench.ioctl(fd, BIND, words(15, 0, iommufd, 0)), "EINVAL");
    failed(bench.ioctl(fd, BIND, words(28, 0, iommufd, 0, 0, 0, 1)), "E2BIG");
    failed(bench.ioctl(fd, BIND, words(16, 0, -1, 0)), "EINVAL");
    failed(bench.ioctl(fd, BIND, words(16, 2, iommufd, 0)), "EINVAL");
    failed(bench.ioctl(fd, BIND, words(16, 0, 99, 0)), "EBADF");
    failed(bench.ioctl(fd, BIND, words(16, 0, fd, 0)), "EBADFD");
    const struct = words(16, 0, iommufd, 0);
    assert.equal(bench.ioctl(fd, BIND, struct), 0);
    assert.equal(word(struct, 3), 1);
    failed(bench.ioctl(fd, BIND, words(16, 0, iommufd, 0)), "EINVAL");
    const second = bench.device("engine");
    failed(bench.ioctl(second, BIND, words(16, 0, iommufd, 0)), "EINVAL");
  });

  it("excludes the group's file, and is excluded by it", () => {
    const bench = new VfioBench();
    const id = bench.system.isolation.groupOf(bench.bdf("engine"))?.id ?? -1;
    const group = bench.process.install(bench.files.openGroup(id));
    const fd = bench.device("engine");
    const iommufd = bench.iommufd();
    failed(bench.ioctl(fd, BIND, words(16, 0, iommufd, 0)), "EBUSY");
    bench.close(group);
    assert.equal(bench.ioctl(fd, BIND, words(16, 0, iommufd, 0)), 0);
    assert.throws(() => bench.files.openGroup(id), /EBUSY/);
    bench.close(fd);
    bench.process.install(bench.files.openGroup(id));
  });

  it("ends with the file, also when the context was closed before", () => {
    const bench = new VfioBench();
    const iommufd = bench.iommufd();
    const fd = bench.bound("engine", iommufd);
    const { ownership } = bench.system;
    bench.close(iommufd);
    assert.notEqual(ownership.ownerOf(bench.bdf("engine")), undefined);
    bench.close(fd);
    assert.equal(ownership.ownerOf(bench.bdf("engine")), undefined);
    assert.equal(bench.files.isInUse(bench.bdf("engine")), false);
  });

  it("undoes everything when the id cannot be written", () => {
    const bench = new VfioBench();
    const fd = bench.device("engine");
    const struct = bench.process.memory.allocPages(1);
    bench.process.memory.at(struct, 16).set(words(16, 0, bench.iommufd(), 0));
    bench.process.memory.protect(struct, 16);
    failed(bench.value(fd, BIND, struct), "EFAULT");
    assert.equal(bench.system.ownership.ownerOf(bench.bdf("engine")), undefined);
  });
});

describe("attaching", () => {
  it("takes an address space, replaces it, and lets it go", () => {
    const bench = new VfioBench();
    const iommufd = bench.iommufd();
    const fd = bench.bound("engine", iommufd);
    const [first, second] = [ioas(bench, iommufd), ioas(bench, iommufd)];
    failed(bench.ioctl(fd, ATTACH, words(11, 0, first)), "EINVAL");
    failed(bench.ioctl(fd, ATTACH, words(12, 2, first)), "EINVAL");
    failed(bench.ioctl(fd, ATTACH, words(12, 1, first)), "EINVAL");
    failed(bench.ioctl(fd, ATTACH, words(12, 0, 999)), "ENOENT");
    const struct = words(12, 0, first);
    assert.equal(bench.ioctl(fd, ATTACH, struct), 0);
    const table = word(struct, 2);
    assert.ok(table > second);
    assert.equal(bench.ioctl(fd, ATTACH, words(12, 0, second)), 0);
    assert.equal(bench.ioctl(fd, DETACH, words(8, 0)), 0);
    assert.equal(bench.ioctl(fd, DETACH, words(8, 0)), 0);
    failed(bench.ioctl(fd, DETACH, words(7, 0)), "EINVAL");
    failed(bench.ioctl(fd, DETACH, words(8, 2)), "EINVAL");
  });

  it("knows PASIDs only where the flag says so", () => {
    const bench = new VfioBench();
    const iommufd = bench.iommufd();
    const fd = bench.bound("stub", iommufd);
    const space = ioas(bench, iommufd);
    failed(bench.ioctl(fd, ATTACH, words(16, 1, space, 0x200000)), "EINVAL");
    const result = bench.ioctl(fd, ATTACH, words(16, 1, space, 5));
    assert.ok(result < 0, "the stub has no PASIDs");
    assert.equal(bench.ioctl(fd, DETACH, words(12, 1, 5)), 0);
  });
});

describe("what a device tells", () => {
  it("regions and interrupts, as far as the caller has room", () => {
    const bench = new VfioBench();
    const fd = bench.bound("engine");
    const info = words(24, 0, 0, 0, 7, 7);
    assert.equal(bench.ioctl(fd, GET_INFO, info), 0);
    assert.deepEqual([...info], [...words(24, 3, 9, 5, 0, 0)]);
    const short = words(20, 0, 0, 0, 7, 7);
    assert.equal(bench.ioctl(fd, GET_INFO, short), 0);
    assert.equal(word(short, 5), 7);
    failed(bench.ioctl(fd, GET_INFO, words(15, 0, 0, 0, 0, 0)), "EINVAL");
  });

  it("registers cannot be mapped, memory can", () => {
    const bench = new VfioBench();
    const fd = bench.bound("engine");
    const region = (index: number) => {
      const struct = wide([32, 0, index, 0], 0n, 0n);
      assert.equal(bench.ioctl(fd, GET_REGION, struct), 0);
      assert.equal(long(struct, 24), BigInt(index) << 40n);
      return [word(struct, 1), long(struct, 16)];
    };
    assert.deepEqual(region(0), [3, 0x8000n]);
    assert.deepEqual(region(1), [0, 0n]);
    assert.deepEqual(region(2), [7, 0x10000n]);
    assert.deepEqual(region(3), [0, 0n]);
    assert.deepEqual(region(6), [0, 0n]);
    assert.deepEqual(region(CONFIG), [3, 4096n]);
    failed(bench.ioctl(fd, GET_REGION, wide([32, 0, 8, 0], 0n, 0n)), "EINVAL");
    failed(bench.ioctl(fd, GET_REGION, wide([32, 0, 9, 0], 0n, 0n)), "EINVAL");
    failed(bench.ioctl(fd, GET_REGION, wide([31, 0, 0, 0], 0n, 0n)), "EINVAL");
  });

  it("a mappable BAR with the table of MSI-X says so in a capability", () => {
    const bench = new VfioBench({ devices: [{ ...STUB, msix: 4 }] });
    const fd = bench.bound("stub");
    const short = wide([32, 0, 0, 0], 0n, 0n);
    assert.equal(bench.ioctl(fd, GET_REGION, short), 0);
    assert.deepEqual([word(short, 0), word(short, 1), word(short, 3)], [40, 15, 0]);
    const full = wide([40, 0, 0, 0], 0n, 0n, 0n);
    assert.equal(bench.ioctl(fd, GET_REGION, full), 0);
    assert.deepEqual([word(full, 3), word(full, 8), word(full, 9)], [32, 0x1_0003, 0]);
  });

  it("its interrupts", () => {
    const bench = new VfioBench();
    const fd = bench.bound("engine");
    const irq = (index: number) => {
      const struct = words(16, 0, index, 0);
      assert.equal(bench.ioctl(fd, GET_IRQ, struct), 0);
      return [word(struct, 1), word(struct, 3)];
    };
    assert.deepEqual(irq(0)[0], 7);
    assert.deepEqual(irq(1), [9, 0]);
    assert.deepEqual(irq(2), [1, 8]);
    assert.deepEqual(irq(3), [9, 1]);
    assert.deepEqual(irq(4), [9, 1]);
    failed(bench.ioctl(fd, GET_IRQ, words(16, 0, 5, 0)), "EINVAL");
    failed(bench.ioctl(fd, 0x3b72, words(16, 0, 0, 0)), "ENOTTY");
  });
});
