/**
 * Random maps and unmaps against a list of mappings, for each who answers container calls; and
 * every allocation failing once.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { TestSystemOptions } from "../../test/support/iommufd.js";
import { device } from "../../test/support/iommufd.js";
import { VfioTestSystem } from "../../test/support/vfio.js";
import { UapiError } from "../abi/index.js";
import { VfioExtension, VfioMapFlag, VfioUnmapFlag } from "../iommufd/index.js";

const SEED = 20_210_609;
const PAGE = 4096n;
const BASE = 0x1000_0000n;
const RW = VfioMapFlag.read | VfioMapFlag.write;
const A = device(0);

type Kind = "container type1" | "container type1v2" | "context type1" | "context type1v2";
const KINDS: readonly Kind[] = [
  "container type1",
  "container type1v2",
  "context type1",
  "context type1v2",
];

/** One mapping: pages first to end, from pages of the process that lie `shift` behind. */
interface Mapping {
  readonly first: number;
  readonly end: number;
  readonly shift: number;
}

/** A list of mappings with the rules of one kind, written page by page. */
class Model {
  list: Mapping[] = [];
  readonly kind: Kind;

  constructor(kind: Kind) {
    this.kind = kind;
  }

  map(first: number, end: number, shift: number): string {
    if (this.list.some((m) => m.first < end && first < m.end)) return "EEXIST";
    this.list.push({ first, end, shift });
    return "ok";
  }

  unmap(first: number, end: number): string {
    if (this.kind === "context type1") {
      this.list = this.list.flatMap((m) => cut(cut([m], first), end));
    }
    const touched = this.list
      .filter((m) => m.first < end && first < m.end)
      .sort((a, b) => a.first - b.first);
    const isWhole = (m: Mapping) => m.first >= first && m.end <= end;
    if (this.kind === "container type1v2" && !touched.every(isWhole)) return "EINVAL";
    let pages = 0;
    for (const m of touched) {
      if (this.kind === "container type1" && m.first < first) return "0";
      if (this.kind === "context type1v2" && !isWhole(m)) return "ENOENT";
      this.list.splice(this.list.indexOf(m), 1);
      pages += m.end - m.first;
    }
    return String(pages);
  }
}

function cut(list: readonly Mapping[], at: number): Mapping[] {
  return list.flatMap((m) =>
    m.first < at && at < m.end
      ? [
          { ...m, end: at },
          { ...m, first: at },
        ]
      : [m],
  );
}

function setUp(kind: Kind, options: TestSystemOptions = {}) {
  const system = new VfioTestSystem({ groups: [[0, 1]], ...options });
  const inContainer = kind.startsWith("container");
  const context = system.open(system.process);
  const container = system.container();
  const group = system.groups.of(A);
  group.open();
  const enter = () => {
    group.setContainer(inContainer ? container : context);
    const type = kind.endsWith("v2") ? VfioExtension.type1v2 : VfioExtension.type1;
    calls.setIommu(type);
    return group.openDevice(A);
  };
  const calls = inContainer ? container : context.vfio;
  return { system, group, calls, enter };
}

function outcome(call: () => string): string {
  try {
    return call();
  } catch (error) {
    if (UapiError.is(error)) return error.code;
    throw error;
  }
}

const range = (first: number, end: number) => ({
  iova: BASE + BigInt(first) * PAGE,
  size: BigInt(end - first) * PAGE,
});

const step = fc.record({
  isMap: fc.boolean(),
  first: fc.integer({ min: 0, max: 23 }),
  length: fc.integer({ min: 1, max: 9 }),
  shift: fc.integer({ min: 0, max: 3 }),
});

for (const kind of KINDS) {
  test(`${kind}: tables and pins are those of a list of mappings (seed ${SEED})`, () => {
    const property = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { system, calls, enter } = setUp(kind);
      enter();
      const domain = system.driver.attached(A, undefined);
      assert.ok(domain?.kind === "paging");
      const model = new Model(kind);
      for (const { isMap, first, length, shift } of steps) {
        const end = first + length;
        const vaddr = BigInt(first + 100 * shift) * PAGE;
        const found = outcome(() => {
          if (!isMap) return String(calls.unmapDma(range(first, end)) / PAGE);
          calls.mapDma({ flags: RW, vaddr, ...range(first, end) });
          return "ok";
        });
        const wanted = isMap ? model.map(first, end, 100 * shift) : model.unmap(first, end);
        assert.equal(found, wanted);
        const perPage: number = 4096 >> domain.granuleShift;
        const pins = new Map<number, number>();
        for (let page = 0; page < 36; page++) {
          const m = model.list.find((each) => each.first <= page && page < each.end);
          const at: number = (Number(BASE >> 12n) + page) * (4096 / 2 ** domain.granuleShift);
          const frame = domain.translate(at);
          const source = m === undefined ? undefined : page + m.shift;
          const own = source === undefined ? undefined : system.process.memory.frameOf(source);
          assert.equal(frame === undefined ? undefined : Math.floor(frame / perPage), own);
          if (source !== undefined) pins.set(source, (pins.get(source) ?? 0) + 1);
        }
        assert.deepEqual(sorted(system.process.memory.pins), sorted(pins));
      }
      calls.unmapDma({ flags: VfioUnmapFlag.all, iova: 0n, size: 0n });
      assert.equal(system.process.memory.pinned, 0);
    });
    fc.assert(property, { seed: SEED, numRuns: 60 });
  });

  test(`${kind}: when an allocation fails, any of them, the group is as before`, () => {
    for (let n = 1; ; n++) {
      let left = 0;
      const permit = () => left === 0 || --left > 0;
      const { system, group, calls, enter } = setUp(kind, { allocations: { permit } });
      left = n;
      const failed = outcome(() => {
        enter();
        calls.mapDma({ flags: RW, vaddr: 0n, ...range(0, 4) });
        return "ok";
      });
      const isOver = left > 0;
      left = 0;
      assert.equal(failed, isOver ? "ok" : "ENOMEM");
      group.forgetDevice(A);
      group.close();
      group.open();
      assert.equal(system.ownership.ownerOf(A), undefined);
      assert.equal(system.driver.attached(A, undefined), undefined);
      enter();
      if (isOver) break;
      calls.mapDma({ flags: RW, vaddr: 0n, ...range(0, 4) });
    }
  });
}

function sorted(map: ReadonlyMap<number, number>): [number, number][] {
  return [...map].sort((a, b) => a[0] - b[0]);
}
