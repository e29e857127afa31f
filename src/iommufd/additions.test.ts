/** The calls and options that Linux does not have, through bytes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO, UapiError } from "../../src/abi/index.js";
import { type KeptRefusal, serveWhy } from "../../src/iommufd/index.js";
import { makePasid } from "../../src/units/index.js";
import { device } from "../../test/support/iommufd.js";
import { Program, sized, u32At, u64At } from "../../test/support/iommufd-file.js";

const REPORT = 0xe5c0;
const WHY = 0xe5c1;
const SPACE = 0xe5c2;
const OPTION = 0x3b87;
const SET = 0;
const GET = 1;
const PASID_POLICY = 0x80000000;
const EXCLUDE = 0x80000001;
const STRICT = 0x80000002;
const ROUTING = 0x80000003;
const COOKIE = 0x80000004;

const text = (p: Program, at: bigint, length: number): string =>
  Buffer.from(p.process.memory.at(at, length)).toString("utf8");

const option = (id: number, op: number, object: number, value: bigint) =>
  sized(id, [2, op], [2, 0], object, value);

describe("numbers of type 0xE5", () => {
  it("are refused as Linux refuses them, but for three", () => {
    const p = new Program();
    for (const command of [0xe5c3, 0xe5ff, 0xe580, 0xe4c0, 0x1e5c0]) {
      p.refused("ENOTTY", command, sized(0, 0, 0));
    }
    p.refused("EINVAL", SPACE, sized(0, 0, 0));
    p.refused("EOPNOTSUPP", SPACE, sized(1, 0, 0, 0, 0));
    p.refused("ENOENT", SPACE, sized(0, 9, 0, 0, 0));
  });
});

describe("IOASIS_PASID_SPACE", () => {
  it("names the space of a device's PASIDs", () => {
    const p = new Program();
    const [a, b] = [p.bind(0), p.bind(1)];
    const first = p.ok(SPACE, sized(0, a, 0, 0, 0));
    const second = p.ok(SPACE, sized(0, b, 0, 0, 0));
    assert.equal(u32At(first, 16), 20);
    assert.notEqual(u32At(first, 12), u32At(second, 12));
  });
});

describe("IOASIS_DEVICE_REPORT", () => {
  const report = (dev: number, rooms: readonly number[], at: readonly bigint[]) =>
    sized(
      ...[0, dev, 0, 0, 0, 0, 0, 0n],
      ...[rooms[0] ?? 0, rooms[1] ?? 0, at[0] ?? 0n, at[1] ?? 0n],
      ...[rooms[2] ?? 0, rooms[3] ?? 0, at[2] ?? 0n, at[3] ?? 0n],
      ...[rooms[4] ?? 0, rooms[5] ?? 0, at[4] ?? 0n, at[5] ?? 0n],
    );

  it("tells whom a device shares with, what it reaches and why", () => {
    const ports = { sentence: (e: object) => `because of ${"kind" in e ? e.kind : "?"}…` };
    const p = new Program({ aliasSets: [[0, 1]], groups: [[0, 1, 2]], ports });
    p.system.paths.set(device(0), {
      ok: false,
      onlyPath: true,
      because: [{ kind: "acs-bits-off", at: device(0), cite: "PCIe 6 § 6.12" }],
    });
    const dev = p.bind(0);
    p.ok(OPTION, option(COOKIE, SET, dev, 0x1234n));
    const { memory } = p.process;
    const at = [memory.alloc(64), memory.alloc(64), memory.alloc(64), 0n, memory.alloc(64)];
    at.push(memory.alloc(64));
    const out = p.ok(REPORT, report(dev, [2, 2, 4, 0, 64, 12], at));
    assert.equal(u32At(out, 12), 1 | 4);
    assert.deepEqual([u32At(out, 16), u32At(out, 20)], [device(0), 0]);
    assert.equal(u64At(out, 32), 0x1234n);
    assert.deepEqual([u32At(out, 40), u32At(out, 44)], [2, 3]);
    assert.deepEqual(
      [memory.u32(at[0] ?? 0n), memory.u32((at[0] ?? 0n) + 4n)],
      [device(0), device(1)],
    );
    assert.equal(memory.u32((at[1] ?? 0n) + 8n), 0);
    const share = "because of alias-bridge…";
    assert.equal(u32At(out, 88), Buffer.byteLength(share) + 1);
    assert.equal(text(p, at[4] ?? 0n, u32At(out, 88)), `${share}\0`);
    assert.equal(text(p, at[5] ?? 0n, 12), "because of \0");
    assert.equal(u32At(out, 92), Buffer.byteLength("because of acs-bits-off…") + 1);
    const ioas = p.ioasAlloc();
    const { iommufd } = p.file;
    iommufd.attach({ device: iommufd.device(dev), ptId: ioas });
    const attached = p.ok(REPORT, report(dev, [0, 0, 1, 0], [0n, 0n, at[2] ?? 0n]));
    assert.equal(u32At(attached, 12) & 8, 8);
    assert.equal(u32At(attached, 64), 1);
    assert.equal(memory.u64(at[2] ?? 0n), 0x1000000n);
    p.refused("EFAULT", REPORT, report(dev, [1], [0n]));
    p.refused("ENOENT", REPORT, report(ioas, [], []));
  });

  it("lists what a device reaches past the IOMMU", () => {
    const p = new Program({ groups: [[0, 1]] });
    const window = { first: 0xe0000000n, last: 0xe00fffffn };
    p.system.windows.set(device(0), [{ device: device(1), span: window }]);
    p.system.paths.set(device(0), { ok: false, onlyPath: true, because: [] });
    const dev = p.bind(0);
    const ioas = p.ioasAlloc();
    const { iommufd } = p.file;
    const attach = () =>
      iommufd.attach({ device: iommufd.device(dev), ptId: ioas, pasid: makePasid(5) });
    assert.throws(attach, (error) => UapiError.is(error) && error.code === "EINVAL");
    p.ok(OPTION, option(PASID_POLICY, SET, dev, 3n));
    attach();
    const { memory } = p.process;
    const at = memory.alloc(24);
    const out = p.ok(REPORT, report(dev, [0, 0, 0, 1], [0n, 0n, 0n, at]));
    assert.deepEqual([u32At(out, 20), u32At(out, 68)], [3, 1]);
    assert.equal(u32At(out, 12) & 16, 16);
    assert.deepEqual([memory.u32(at), memory.u32(at + 4n)], [5, 3]);
    assert.deepEqual([memory.u64(at + 8n), memory.u64(at + 16n)], [window.first, window.last]);
  });
});

describe("IOASIS_WHY", () => {
  it("says why the thread's last call was refused", () => {
    const kept: { one?: KeptRefusal } = {};
    const refusals = { last: (tid: number) => (tid === 7 ? kept.one : undefined) };
    const p = new Program({ ports: { refusals, sentence: () => "It is so." } });
    const { memory } = p.process;
    const [rule, words, cite] = [memory.alloc(64), memory.alloc(64), memory.alloc(64)];
    const ask = (flags = 0) => sized(flags, 0, 0, 0n, rule, words, cite, 64, 64, 4, 0);
    assert.equal(u32At(p.ok(WHY, ask()), 8), 0);
    const error = new UapiError("EBUSY", "it is used", {
      evidence: [{ kind: "a" }, { kind: "b" }],
      cite: "Linux x()",
    });
    kept.one = { error, command: 0x3b80, sequence: 3n };
    const thread = p.process.thread(7);
    const out = ask();
    assert.equal(thread.ioctlBytes(p.file, WHY, out), 0);
    assert.deepEqual([u32At(out, 8), u32At(out, 12), u64At(out, 16)], [ERRNO.EBUSY, 0x3b80, 3n]);
    assert.equal(text(p, rule, u32At(out, 48)), "it is used\0");
    assert.equal(text(p, words, u32At(out, 52)), "It is so.\nIt is so.\0");
    assert.equal(u32At(out, 56), 10);
    assert.equal(text(p, cite, 4), "Lin\0");
    p.refused("EOPNOTSUPP", WHY, ask(1));
    const at = memory.alloc(64);
    memory.at(at, 64).set(ask());
    assert.equal(serveWhy({ refusals }, thread, at), 0);
    assert.equal(text(p, words, 4), "a\nb\0");
  });
});

describe("options from 0x80000000", () => {
  it("are read and set for the context or for one device", () => {
    const p = new Program();
    const dev = p.bind();
    const get = (id: number, object: number): bigint =>
      u64At(p.ok(OPTION, option(id, GET, object, 99n)), 16);
    for (const [id, object, values, bad] of [
      [PASID_POLICY, 0, [0n, 1n, 2n, 3n], 4n],
      [PASID_POLICY, dev, [0n, 1n, 2n, 3n], 2n ** 63n],
      [EXCLUDE, 0, [0n, 1n], 2n],
      [EXCLUDE, dev, [0n, 1n], 2n],
      [STRICT, 0, [0n, 1n], 2n],
      [ROUTING, dev, [0n, 1n, 2n, 0x101n, 0x102n], 4n],
    ] as const) {
      for (const value of values) {
        p.ok(OPTION, option(id, SET, object, value));
        assert.equal(get(id, object), value);
      }
      p.refused("EINVAL", OPTION, option(id, SET, object, bad));
      p.refused("EOPNOTSUPP", OPTION, option(id, 2, object, 0n));
    }
    p.ok(OPTION, option(COOKIE, SET, dev, 2n ** 64n - 1n));
    assert.equal(get(COOKIE, dev), 2n ** 64n - 1n);
    p.refused("EOPNOTSUPP", OPTION, option(0x80000005, GET, 0, 0n));
    p.refused("EOPNOTSUPP", OPTION, option(STRICT, GET, dev, 0n));
    p.refused("ENOENT", OPTION, option(ROUTING, GET, 0, 0n));
    p.refused("EINVAL", OPTION, option(ROUTING, SET, dev, 3n));
  });

  it("let the driver in user space declare what its device sends", () => {
    const p = new Program();
    const dev = p.bind();
    const ioas = p.ioasAlloc();
    const { iommufd } = p.file;
    const args = { device: iommufd.device(dev), ptId: ioas };
    p.ok(OPTION, option(ROUTING, SET, dev, 0n));
    assert.throws(() => iommufd.attach({ ...args, pasid: makePasid(1) }), /EINVAL/);
    iommufd.attach(args);
    p.refused("EBUSY", OPTION, option(ROUTING, SET, dev, 1n));
    iommufd.detach(args.device);
    p.ok(OPTION, option(ROUTING, SET, dev, 1n));
    iommufd.attach({ ...args, pasid: makePasid(1) });
  });
});
