/** The legacy way in, as programs call it: groups, containers, devices; bus resets; VF tokens. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  at,
  ENGINE,
  failed,
  long,
  STUB,
  VfioBench,
  wide,
  word,
  words,
} from "../../test/support/vfio-machine.js";
import { formatBdf } from "../units/index.js";

const [API, EXTENSION, SET_IOMMU] = [0x3b64, 0x3b65, 0x3b66];
const [STATUS, SET_CONTAINER, UNSET, GET_DEVICE] = [0x3b67, 0x3b68, 0x3b69, 0x3b6a];
const [INFO, MAP, UNMAP, DIRTY] = [0x3b70, 0x3b71, 0x3b72, 0x3b75];
const [HOT_INFO, HOT_RESET] = [0x3b70, 0x3b71];
const BIND = 0x3b76;

function group(bench: VfioBench, name: string): number {
  const id = bench.system.isolation.groupOf(bench.bdf(name))?.id ?? -1;
  return bench.process.install(bench.files.openGroup(id));
}

function container(bench: VfioBench): number {
  return bench.process.install(bench.files.openContainer(bench.process));
}

/** GROUP_GET_DEVICE_FD. */
function getDevice(bench: VfioBench, fd: number, text: string): number {
  const address = bench.process.memory.alloc(text.length + 1);
  bench.process.memory.at(address, text.length).set(new TextEncoder().encode(text));
  return bench.value(fd, GET_DEVICE, address);
}

/** A group in a container of a type, and its device. */
function legacy(type = 3n, bench = new VfioBench()) {
  const [g, c] = [group(bench, "engine"), container(bench)];
  assert.equal(bench.ioctl(g, SET_CONTAINER, words(c)), 0);
  assert.equal(bench.value(c, SET_IOMMU, type), 0);
  const d = getDevice(bench, g, formatBdf(bench.bdf("engine")));
  assert.ok(d > 0);
  return { bench, g, c, d };
}

describe("a group's file", () => {
  it("goes through the states that its status shows", () => {
    const bench = new VfioBench();
    const [g, c] = [group(bench, "engine"), container(bench)];
    const status = () => {
      const struct = words(8, 0);
      assert.equal(bench.ioctl(g, STATUS, struct), 0);
      return word(struct, 1);
    };
    failed(bench.ioctl(g, STATUS, words(7, 0)), "EINVAL");
    assert.equal(status(), 1);
    failed(bench.value(g, SET_CONTAINER, 1n), "EFAULT");
    failed(bench.ioctl(g, SET_CONTAINER, words(99)), "EBADF");
    failed(bench.ioctl(g, SET_CONTAINER, words(g)), "EBADFD");
    failed(bench.value(g, UNSET), "EINVAL");
    const name = formatBdf(bench.bdf("engine"));
    failed(getDevice(bench, g, name), "EINVAL");
    assert.equal(bench.ioctl(g, SET_CONTAINER, words(c)), 0);
    assert.equal(status(), 3);
    failed(bench.ioctl(g, SET_CONTAINER, words(c)), "EINVAL");
    failed(getDevice(bench, g, name), "EINVAL");
    assert.equal(bench.value(c, SET_IOMMU, 1n), 0);
    failed(getDevice(bench, g, "0000:ff:00.0"), "ENODEV");
    failed(getDevice(bench, g, `${name}x`), "ENODEV");
    failed(getDevice(bench, g, `${name} speed=9`), "EINVAL");
    failed(getDevice(bench, g, `${name} vf_token=12`), "EINVAL");
    const d = getDevice(bench, g, name);
    assert.equal(bench.call.lastDescriptor?.closeOnExec, true);
    failed(bench.value(g, UNSET), "EBUSY");
    failed(bench.ioctl(d, BIND, words(16, 0, 0, 0)), "EINVAL");
    failed(bench.ioctl(d, 0x3b77, words(12, 0, 0)), "ENOTTY");
    failed(bench.ioctl(d, 0x3b78, words(8, 0)), "ENOTTY");
    failed(bench.value(g, 0x3b6c), "ENOTTY");
    const second = getDevice(bench, g, name);
    bench.close(d);
    failed(bench.value(g, UNSET), "EBUSY");
    bench.close(second);
    assert.equal(bench.value(g, UNSET), 0);
    assert.equal(bench.system.ownership.ownerOf(bench.bdf("engine")), undefined);
  });

  it("keeps the container of a context alive", () => {
    const bench = new VfioBench();
    const g = group(bench, "engine");
    const iommufd = bench.iommufd();
    assert.equal(bench.ioctl(g, SET_CONTAINER, words(iommufd)), 0);
    const d = getDevice(bench, g, formatBdf(bench.bdf("engine")));
    assert.ok(d > 0);
    bench.close(iommufd);
    bench.close(g);
    assert.notEqual(bench.system.ownership.ownerOf(bench.bdf("engine")), undefined);
    assert.equal(bench.get(d, 7, 4, 2) & 2, 2);
    bench.close(d);
    assert.equal(bench.system.ownership.ownerOf(bench.bdf("engine")), undefined);
  });
});

describe("a container's file", () => {
  it("answers for extensions, and for nothing else before its type is set", () => {
    const bench = new VfioBench();
    const c = container(bench);
    assert.equal(bench.value(c, API), 0);
    const extensions = [1n, 2n, 3n, 4n, 6n, 7n, 8n, 9n, 10n];
    const answers = extensions.map((n) => bench.value(c, EXTENSION, n));
    assert.deepEqual(answers, [1, 0, 1, 0, 0, 0, 0, 1, 0]);
    failed(bench.value(c, SET_IOMMU, 1n), "EINVAL");
    for (const command of [INFO, MAP, UNMAP, DIRTY, 0x3b99]) {
      failed(bench.ioctl(c, command, words(32, 0, 0, 0, 0, 0, 0, 0)), "EINVAL");
    }
    const g = group(bench, "engine");
    assert.equal(bench.ioctl(g, SET_CONTAINER, words(c)), 0);
    failed(bench.value(c, SET_IOMMU, 6n), "ENODEV");
    assert.equal(bench.value(c, SET_IOMMU, 3n), 0);
    failed(bench.value(c, SET_IOMMU, 3n), "EINVAL");
    failed(bench.ioctl(c, 0x3b99, words(32)), "ENOTTY");
  });

  it("tells page sizes, and in capabilities what there is room for", () => {
    const { bench, c } = legacy();
    failed(bench.ioctl(c, INFO, words(15, 0, 0, 0)), "EINVAL");
    const short = wide([24, 0], 0n, 0n);
    assert.equal(bench.ioctl(c, INFO, short), 0);
    assert.equal(word(short, 1), 3);
    assert.equal(long(short, 8) & 0xfffn, 0n);
    assert.equal(long(short, 8) & 0x1000n, 0x1000n);
    assert.equal(word(short, 4), 0);
    const needed = word(short, 0);
    const full = new Uint8Array(needed);
    full.set(words(needed));
    assert.equal(bench.ioctl(c, INFO, full), 0);
    const view = new DataView(full.buffer);
    const seen: number[] = [];
    let ranges: [bigint, bigint][] = [];
    for (let cap = word(full, 4); cap !== 0; cap = view.getUint32(cap + 4, true)) {
      const id = view.getUint16(cap, true);
      seen.push(id);
      if (id === 2) {
        assert.deepEqual([long(full, cap + 16), long(full, cap + 24)], [4096n, 1n << 28n]);
      }
      if (id === 3) assert.equal(view.getUint32(cap + 8, true), 65_535);
      if (id === 1) {
        const count = view.getUint32(cap + 8, true);
        ranges = Array.from({ length: count }, (_, i) => [
          long(full, cap + 16 + 16 * i),
          long(full, cap + 24 + 16 * i),
        ]);
      }
    }
    assert.deepEqual(seen, [2, 3, 1]);
    assert.deepEqual(ranges[0], [0n, 0xfedf_ffffn]);
    assert.equal(ranges[1]?.[0], 0xfef0_0000n);
  });

  it("maps memory of the caller, and of a BAR that it has mapped", () => {
    const { bench, c, d } = legacy();
    const va = bench.process.memory.allocPages(2);
    failed(bench.ioctl(c, MAP, wide([31, 3], va, 0x10000n, 8192n)), "EINVAL");
    failed(bench.ioctl(c, MAP, wide([32, 8], va, 0x10000n, 8192n)), "EINVAL");
    failed(bench.ioctl(c, MAP, wide([32, 7], va, 0x10000n, 8192n)), "EINVAL");
    failed(bench.ioctl(c, MAP, wide([32, 4], va, 0x10000n, 8192n)), "ENOENT");
    assert.equal(bench.ioctl(c, MAP, wide([32, 3], va, 0x10000n, 8192n)), 0);
    failed(bench.ioctl(c, MAP, wide([32, 4], va, 0x10000n, 8192n)), "EINVAL");
    const request = { offset: at(2), length: 0x10000n, protection: 3, flags: 1 };
    const region = bench.call.mmap(bench.file(d), request);
    assert.ok(typeof region !== "number" && region.device !== undefined);
    const source = region.device;
    const first = Number(0x7f00_0000_0000n >> 12n);
    Object.assign(bench.process.memory, {
      deviceAt: (page: number) =>
        page >= first && page < first + 16
          ? { source, page: page - first, count: first + 16 - page }
          : undefined,
    });
    const bar = 0x7f00_0000_1000n;
    failed(bench.ioctl(c, MAP, wide([32, 3], bar, 0x20000n, 0x10000n)), "EFAULT");
    assert.equal(bench.ioctl(c, MAP, wide([32, 3], bar, 0x20000n, 0x2000n)), 0);
    bench.set(d, 7, 4, 2, 6);
    const registers = (values: Record<number, number>) => {
      for (const [register, value] of Object.entries(values)) {
        bench.set(d, 0, 0x1000 + Number(register), 4, value);
      }
    };
    registers({ 16: 2, 40: 0x21000, 48: 8, 56: 0x1234 });
    registers({ 8: 1 });
    assert.equal(bench.get(d, 0, 0x1044, 4), 0);
    assert.equal(bench.get(d, 2, 0x2000, 4), 0x1234);
  });

  it("takes mappings away, and says how much", () => {
    const { bench, c } = legacy();
    const va = bench.process.memory.allocPages(2);
    assert.equal(bench.ioctl(c, MAP, wide([32, 3], va, 0x10000n, 8192n)), 0);
    const unmap = (flags: number, iova: bigint, size: bigint) => {
      const struct = wide([24, flags], iova, size);
      const result = bench.ioctl(c, UNMAP, struct);
      return result < 0 ? result : Number(long(struct, 16));
    };
    failed(unmap(0, 0x10000n, 4096n), "EINVAL");
    failed(unmap(3, 0n, 0n), "EINVAL");
    failed(unmap(5, 0x10000n, 8192n), "EINVAL");
    failed(unmap(8, 0x10000n, 8192n), "EINVAL");
    assert.equal(unmap(0, 0x20000n, 4096n), 0);
    assert.equal(unmap(0, 0x10000n, 8192n), 8192);
    assert.equal(unmap(2, 0n, 0n), 0);
  });

  it("counts every mapped page as dirty while it tracks", () => {
    const { bench, c } = legacy();
    const va = bench.process.memory.allocPages(4);
    assert.equal(bench.ioctl(c, MAP, wide([32, 3], va, 0x10000n, 8192n)), 0);
    assert.equal(bench.ioctl(c, MAP, wide([32, 3], va, 0x13000n, 4096n)), 0);
    const bitmap = bench.process.memory.alloc(16);
    const get = (iova: bigint, size: bigint, pgsize = 4096n, bytes = 8n) =>
      bench.ioctl(c, DIRTY, wide([48, 4], iova, size, pgsize, bytes, bitmap));
    failed(bench.ioctl(c, DIRTY, words(7, 1)), "EINVAL");
    failed(bench.ioctl(c, DIRTY, words(8, 3)), "EINVAL");
    failed(bench.ioctl(c, DIRTY, words(8, 0)), "EINVAL");
    failed(get(0x10000n, 0x4000n), "EINVAL");
    assert.equal(bench.ioctl(c, DIRTY, words(8, 1)), 0);
    failed(get(0x11000n, 0x3000n), "EINVAL");
    failed(get(0x10000n, 0x1000n), "EINVAL");
    failed(get(0x10000n, 0x4000n, 8192n), "EINVAL");
    failed(get(0x10000n, 0x4000n, 4096n, 7n), "EINVAL");
    failed(get(0x10000n, 0x4000n, 4096n, (1n << 28n) + 8n), "EINVAL");
    assert.equal(get(0x10000n, 0x4000n), 0);
    assert.equal(bench.process.memory.u64(bitmap), 0b1011n);
    const unmap = wide([48, 1], 0x13000n, 4096n, 4096n, 8n, bitmap);
    assert.equal(bench.ioctl(c, UNMAP, unmap), 0);
    assert.equal(bench.process.memory.u64(bitmap), 1n);
    assert.equal(bench.ioctl(c, DIRTY, words(8, 2)), 0);
    failed(get(0x10000n, 0x4000n), "EINVAL");
    const first = legacy(1n);
    failed(first.bench.ioctl(first.c, DIRTY, words(8, 1)), "EACCES");
  });
});

describe("resets of a bus", () => {
  const two = () =>
    new VfioBench({ devices: [ENGINE, { ...STUB, flr: true }], oneBus: true, rules: "linux-7.2" });

  it("name every function that they affect, by group or by id", () => {
    const bench = two();
    const iommufd = bench.iommufd();
    const fd = bench.bound("engine", iommufd);
    const small = words(12, 0, 0);
    failed(bench.ioctl(fd, HOT_INFO, words(11, 0, 0)), "EINVAL");
    failed(bench.ioctl(fd, HOT_INFO, small), "ENOSPC");
    assert.equal(word(small, 2), 2);
    const info = () => {
      const struct = words(28, 0, 0, 0, 0, 0, 0);
      assert.equal(bench.ioctl(fd, HOT_INFO, struct), 0);
      return [word(struct, 1), word(struct, 3) | 0, word(struct, 5) | 0];
    };
    const shared = bench.system.isolation.groupOf(bench.bdf("engine"))?.members.length === 2;
    assert.deepEqual(info(), shared ? [3, 1, 0] : [1, 1, -1]);
    bench.bound("stub", iommufd);
    assert.deepEqual(info(), [3, 1, 2]);
    failed(bench.ioctl(fd, HOT_RESET, words(12, 1, 0)), "EINVAL");
    failed(bench.ioctl(fd, HOT_RESET, words(16, 0, 1, 0)), "EINVAL");
    bench.set(fd, 0, 0x1020, 4, 0x99);
    assert.equal(bench.ioctl(fd, HOT_RESET, words(12, 0, 0)), 0);
    assert.equal(bench.get(fd, 0, 0x1020, 4), 0);
    assert.equal(bench.get(fd, 7, 4, 2) & 2, 2);
  });

  it("need every group, when devices were opened through groups", () => {
    const bench = two();
    const { g, d } = legacy(3n, bench);
    failed(bench.ioctl(d, HOT_RESET, words(12, 0, 0)), "EINVAL");
    failed(bench.ioctl(d, HOT_RESET, words(24, 0, 3, g, g, g)), "EINVAL");
    failed(bench.ioctl(d, HOT_RESET, words(16, 0, 1, 99)), "EBADF");
    failed(bench.ioctl(d, HOT_RESET, words(16, 0, 1, d)), "EINVAL");
    const groups = new Set(
      ["engine", "stub"].map((n) => bench.system.isolation.groupOf(bench.bdf(n))?.id),
    );
    if (groups.size === 1) {
      assert.equal(bench.ioctl(d, HOT_RESET, words(16, 0, 1, g)), 0);
      return;
    }
    failed(bench.ioctl(d, HOT_RESET, words(16, 0, 1, g)), "EINVAL");
    const other = group(bench, "stub");
    assert.equal(bench.ioctl(d, HOT_RESET, words(20, 0, 2, g, other)), 0);
  });

  it("there is none on a root bus", () => {
    const integrated = { ...STUB, kind: "integrated-endpoint" };
    const bench = new VfioBench({ roots: [integrated] });
    const fd = bench.bound("stub");
    failed(bench.ioctl(fd, HOT_INFO, words(12, 0, 0)), "ENODEV");
    failed(bench.ioctl(fd, HOT_RESET, words(12, 0, 0)), "ENODEV");
  });
});

describe("VF tokens", () => {
  const TOKEN = "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";
  const OTHER = "00112233-4455-6677-8899-aabbccddeeff";
  const pf = { ...STUB, name: "pf", sriov: { vfs: 1, each: { flr: true } } };

  function sriov() {
    const bench = new VfioBench({ devices: [pf] });
    const vf = bench.system.virtualOf(bench.bdf("pf"))[0];
    assert.ok(vf !== undefined);
    const open = (bdf: typeof vf) =>
      bench.process.install(bench.files.openDevice(bdf, { label: "/dev/vfio/devices/vfio9" }));
    const iommufd = bench.iommufd();
    const bind = (fd: number, token?: string) => {
      if (token === undefined) return bench.ioctl(fd, BIND, words(16, 0, iommufd, 0));
      const bytes = Uint8Array.from(token.replaceAll("-", "").match(/../g) ?? [], (h) =>
        Number.parseInt(h, 16),
      );
      const address = bench.process.memory.alloc(16);
      bench.process.memory.at(address, 16).set(bytes);
      return bench.ioctl(fd, BIND, wide([24, 1, iommufd, 0], address));
    };
    return { bench, vf, open, bind };
  }

  it("a VF of a PF of vfio-pci is opened with the token only", () => {
    const { bench, vf, open, bind } = sriov();
    const fd = open(vf);
    failed(bind(fd), "EACCES");
    failed(bind(fd, OTHER), "EACCES");
    assert.equal(bind(fd, TOKEN), 0);
    const physical = open(bench.bdf("pf"));
    failed(bind(physical), "EACCES");
    failed(bind(physical, OTHER), "EACCES");
    assert.equal(bind(physical, TOKEN), 0);
  });

  it("a PF without users takes a token, by bind or by feature", () => {
    const { bench, vf, open, bind } = sriov();
    const physical = open(bench.bdf("pf"));
    assert.equal(bind(physical, OTHER), 0);
    const fd = open(vf);
    failed(bind(fd, TOKEN), "EACCES");
    const set = words(24, 0x20000, 0x5a5a5a5a, 0x5a5a5a5a, 0x5a5a5a5a, 0x5a5a5a5a);
    assert.equal(bench.ioctl(physical, 0x3b75, set), 0);
    assert.equal(bind(fd, TOKEN), 0);
  });

  it("are nothing for other devices", () => {
    const bench = new VfioBench();
    const g = group(bench, "engine");
    const name = formatBdf(bench.bdf("engine"));
    failed(getDevice(bench, g, `${name} vf_token=${TOKEN}`), "EINVAL");
  });
});
