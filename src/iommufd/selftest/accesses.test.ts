/** Test accesses and test buffers: Linux drivers/iommu/iommufd/selftest.c says what they answer. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { IOVA, PAGE, TestProgram, u32s } from "../../../test/support/test-program.js";
import * as abi from "../../abi/index.js";
import { FileKind } from "../../files/index.js";
import type { AccessFile } from "./access-file.js";
import type { TestBuffer } from "./test-buffer.js";

let program: TestProgram;
beforeEach(() => {
  program = new TestProgram();
});

const pages =
  (iova: bigint, length: bigint, uptr: bigint, flags = 0) =>
  (view: DataView): void =>
    abi.encodeIommuTestCmdAccessPages({ flags, out_access_pages_id: 0, iova, length, uptr }, view);
const rw =
  (iova: bigint, length: bigint, uptr: bigint, flags = 0) =>
  (view: DataView): void =>
    abi.encodeIommuTestCmdAccessRw({ iova, length, uptr, flags }, view);

describe("accesses", () => {
  test("creating one needs a space and known flags; a refusal leaves no object", () => {
    program.refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_CREATE_ACCESS, program.ioas, u32s(0, 2));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_CREATE_ACCESS, 99, u32s(0, 1));
    assert.equal([...program.iommufd.state.objects.all()].length, 1);
    assert.equal(program.file.context.holders, 1);
  });

  test("the descriptor keeps the context; closing it gives pins back", () => {
    const fd = program.access(true);
    const va = program.map(2);
    program.ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, 2n * PAGE, va));
    assert.equal(program.process.memory.pins.size, 2);
    program.file.release();
    assert.equal(program.file.context.holders, 1);
    program.process.close(fd);
    assert.equal(program.file.context.holders, 0);
    assert.equal(program.process.memory.pins.size, 0);
  });

  test("pins are numbered from 0 and given back by number", () => {
    const fd = program.access(true);
    const va = program.map(4);
    const first = program.ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va, 1));
    assert.equal(first.getUint32(20, true), 0);
    const half = pages(IOVA + 2048n, PAGE, va + 2048n);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, half);
    const second = program.ok(
      abi.IOMMU_TEST_OP_ACCESS_PAGES,
      fd,
      pages(IOVA + PAGE, 1n, va + PAGE),
    );
    assert.equal(second.getUint32(20, true), 1);
    program.ok(abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(0));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(0));
    program.ok(abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(1));
    assert.equal(program.process.memory.pins.size, 0);
  });

  test("unmapping takes pins in the range away", () => {
    const fd = program.access(true);
    const va = program.map(2);
    program.ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
    assert.equal(program.iommufd.ioasUnmap(program.ioas, IOVA, 2n * PAGE), 2n * PAGE);
    assert.equal((program.process.file(fd) as AccessFile).itemCount, 0);
    program.refused("ENOENT", abi.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, fd, u32s(0));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
  });

  test("pages that are not the caller's are EBADE, and nothing stays pinned", () => {
    const fd = program.access(true);
    const va = program.map(2);
    program.refused("EBADE", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va + PAGE));
    program.refused("EFAULT", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, PAGE));
    program.ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, 0n));
    assert.equal(program.process.memory.pins.size, 1);
  });

  test("order of refusals of ACCESS_PAGES", () => {
    const fd = program.access(false);
    const more = 16n * 1024n * 1024n + 1n;
    program.refused("ENOMEM", abi.IOMMU_TEST_OP_ACCESS_PAGES, 99, pages(IOVA, more, 0n, 2));
    program.refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_ACCESS_PAGES, 99, pages(IOVA, PAGE, 0n, 2));
    program.refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_PAGES, 99, pages(IOVA, PAGE, 0n));
    const own = program.process.install(program.file);
    program.refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_PAGES, own, pages(IOVA, PAGE, 0n));
    program.refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, 0n));
    const pinning = program.access(true);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_ACCESS_PAGES, pinning, pages(IOVA, 0n, 0n));
    program.refused(
      "EOVERFLOW",
      abi.IOMMU_TEST_OP_ACCESS_PAGES,
      pinning,
      pages(2n ** 64n - 1n, 2n, 0n),
    );
  });

  test("reading and writing through the space, at any byte", () => {
    const fd = program.access(false);
    const va = program.map(2);
    const buffer = program.process.memory.alloc(64);
    program.process.memory.at(va, 8192).forEach((_, i, all) => {
      all[i] = i & 0xff;
    });
    program.ok(abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA + 4090n, 12n, buffer));
    const expected = [0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, 0, 1, 2, 3, 4, 5];
    assert.deepEqual([...program.process.memory.at(buffer, 12)], expected);
    program.process.memory.at(buffer, 3).set([7, 8, 9]);
    program.ok(abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA + 4095n, 3n, buffer, 1 | 4));
    assert.deepEqual([...program.process.memory.at(va + 4095n, 3)], [7, 8, 9]);
    program.refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA + 8190n, 3n, buffer));
    program.refused("EFAULT", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 3n, PAGE));
    program.refused("EFAULT", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 3n, PAGE, 1));
    program.refused("EOPNOTSUPP", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 3n, buffer, 2));
    program.refused("ENOMEM", abi.IOMMU_TEST_OP_ACCESS_RW, fd, rw(IOVA, 2n ** 40n, buffer));
    program.refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_RW, 99, rw(IOVA, 3n, buffer));
  });

  test("moving to another space gives pins back first", () => {
    const fd = program.access(true);
    const va = program.map(1);
    const other = program.iommufd.ioasAlloc();
    program.ok(abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
    program.ok(abi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, fd, u32s(other));
    assert.equal(program.process.memory.pins.size, 0);
    program.refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_PAGES, fd, pages(IOVA, PAGE, va));
    program.refused("ENOENT", abi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, fd, u32s(99));
    program.refused("EBADFD", abi.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, 99, u32s(other));
    program.iommufd.destroy(program.ioas);
  });
});

describe("buffers", () => {
  const get = (length: number, openFlags = 0) => u32s(length, openFlags);

  test("the descriptor is the result; lengths are rounded to pages", () => {
    const { result } = program.run(abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(1, 0x80000));
    assert.equal((program.process.file(result) as TestBuffer).size, PAGE);
    assert.equal(program.call.lastDescriptor?.closeOnExec, true);
    program.run(abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(4096));
    assert.equal(program.call.lastDescriptor?.closeOnExec, false);
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(0));
    program.refused("EINVAL", abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(512 * 4096 + 1));
  });

  test("a revoked buffer cannot be pinned until it is given back", () => {
    const fd = program.run(abi.IOMMU_TEST_OP_DMABUF_GET, 0, get(8192)).result;
    const buffer = program.process.file(fd) as TestBuffer;
    let told = 0;
    buffer.onRevoke(() => told++);
    const frames = new Float64Array(2);
    buffer.pages.pin(0, 2, true, frames);
    assert.equal((frames[0] ?? 0) + 1, frames[1]);
    program.ok(abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(fd, 1));
    assert.equal(told, 1);
    assert.throws(() => buffer.pages.pin(0, 1, true, frames), { code: "ENODEV" });
    program.ok(abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(fd, 0));
    buffer.pages.pin(0, 1, true, frames);
  });

  test("REVOKE refuses what is no buffer", () => {
    program.refused("EBADF", abi.IOMMU_TEST_OP_DMABUF_REVOKE, 0, u32s(99, 1));
    program.refused(
      "EINVAL",
      abi.IOMMU_TEST_OP_DMABUF_REVOKE,
      0,
      u32s(program.process.install(program.file), 1),
    );
    const foreign = { kind: FileKind.dmaBuf, label: "", release: () => {} };
    program.refused(
      "EOPNOTSUPP",
      abi.IOMMU_TEST_OP_DMABUF_REVOKE,
      0,
      u32s(program.process.install(foreign), 1),
    );
  });
});
