/**
 * Bookkeeping of address spaces: against an ordered set in C, and how it grows.
 *
 * `bookkeeping` is what the C program does: an interval into the set and out again, with numbers.
 * `call` is IOMMU_IOAS_MAP and UNMAP as the library has them: bigints, all checks, object look-up.
 */
import { Iommufd, MapFlag } from "../src/iommufd/index.js";
import { TestProcess, TestSystem } from "../test/support/iommufd.js";
import { compare, compileFloor, runFloor, SLICE, sliced, withScratch } from "./floor.js";
import { type Bench, type BenchContext, median } from "./harness.js";

const RW = MapFlag.readable | MapFlag.writeable;
const FIXED = RW | MapFlag.fixedIova;
const GOAL = { set: 5, growth: 6, auto: 3, bytes: 64 * 1.05 } as const;

export const bench: Bench = {
  name: "address spaces",
  run: (context) => {
    withScratch((folder) => {
      let program: string;
      try {
        program = compileFloor("ordered-set", folder);
      } catch (error) {
        context.skip("ioas.set", `no C compiler: ${String(error).slice(0, 80)}`);
        return;
      }
      for (const resident of [1000, 100_000]) againstC(context, program, resident);
    });
    randomGrowth(context);
    automatic(context);
  },
};

/** The generator of the C program: page numbers between the resident ones. */
class Pages {
  readonly #resident: number;
  #state = 12345;

  constructor(resident: number) {
    this.#resident = resident;
  }

  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return 2 * Math.floor((this.#state * this.#resident) / 2 ** 32) + 2;
  }
}

function filled(resident: number): { fd: Iommufd; ioasId: number } {
  const fd = new Iommufd(new TestSystem(), new TestProcess());
  const ioasId = fd.ioasAlloc();
  const args = { ioasId, flags: FIXED, userVa: 4096n, length: 4096n };
  for (let i = 0; i < resident; i++) fd.ioasMap({ ...args, iova: BigInt(2 * i + 1) << 12n });
  return { fd, ioasId };
}

function againstC(context: BenchContext, program: string, resident: number): void {
  const count = context.size === "ci" ? 2 ** 17 : 2 ** 19;
  const { fd, ioasId } = filled(resident);
  const { space } = fd.ioas(ioasId);
  const { areas } = space;
  const floor = () => runFloor(program, [String(resident), String(count)]);
  const run = (one: (page: number) => void) => () => {
    const pages = new Pages(resident);
    const slice = (n: number): number => {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const page = pages.next();
        one(page);
        sum = (sum + page) >>> 0;
      }
      return sum;
    };
    slice(SLICE);
    const { ns, sum } = sliced(count, () => 0, slice);
    return { ns, sum, reads: areas.size };
  };
  const bookkeeping = run((page) => {
    areas.insert(page, 0, page, 4095, 1, 0, 0, 3);
    areas.seek(page, 0);
    areas.remove();
  });
  const name = `${resident / 1000}k`;
  compare(context, {
    metric: `ioas.bookkeeping.${name}`,
    goal: GOAL.set,
    floor,
    own: bookkeeping,
  });
  const args = { ioasId, flags: FIXED, userVa: 4096n, length: 4096n, iova: 0n };
  // The caller has its addresses already.
  const iovas = Array.from({ length: resident + 1 }, (_, i) => BigInt(i) << 13n);
  const call = run((page) => {
    const iova = iovas[page / 2] ?? 0n;
    args.iova = iova;
    fd.ioasMap(args);
    fd.ioasUnmap(ioasId, iova, 4096n);
  });
  compare(context, { metric: `ioas.call.${name}`, goal: GOAL.set, floor, own: call });
}

/** Maps at random places: the cost of one, among a thousand and among a million. */
function randomGrowth(context: BenchContext): void {
  const sizes = context.size === "ci" ? [1000, 200_000] : [1000, 1_000_000];
  const perMap = sizes.map((size) => randomMaps(context, size));
  // The first size warmed up; it counts again.
  perMap[0] = randomMaps(context, sizes[0] ?? 0);
  const [small = Number.NaN, large = Number.NaN] = perMap;
  context.report({
    metric: `ioas.map.random.${(sizes[1] ?? 0) / 1000}k`,
    value: large / small,
    unit: "x",
    goal: GOAL.growth,
    floor: `1k ${small.toFixed(0)} ns, here ${large.toFixed(0)} ns`,
  });
}

/** Nanoseconds of one map at a random place among `size`. */
function randomMaps(context: BenchContext, size: number): number {
  const pages = new Pages(2 ** 31);
  const more = Math.ceil(size / 20);
  const sets = size > 10_000 ? 1 : 100;
  const samples: number[] = [];
  for (let round = 0; round < 5; round++) {
    let taken = 0;
    for (let set = 0; set < sets; set++) {
      const { areas } = filled(0).fd.ioas(1).space;
      while (areas.size < size) insertAt(areas, pages.next());
      const began = performance.now();
      for (let i = 0; i < more; i++) insertAt(areas, pages.next());
      taken += performance.now() - began;
      if (round + set > 0 || size < 10_000) continue;
      const value = areas.storedBytes / areas.size;
      context.report({ metric: "ioas.area", value, unit: "bytes", goal: GOAL.bytes });
    }
    samples.push((taken * 1e6) / (more * sets));
  }
  return median(samples);
}

type Areas = ReturnType<Iommufd["ioas"]>["space"]["areas"];

function insertAt(areas: Areas, page: number): void {
  areas.insert(page, 0, page, 4095, 1, 0, 0, 3);
}

/** Automatically chosen addresses: map number 100,000 against map number 100. */
function automatic(context: BenchContext): void {
  const early: number[] = [];
  const late: number[] = [];
  for (let round = 0; round < 7; round++) {
    const { fd, ioasId } = filled(0);
    const args = { ioasId, flags: RW, userVa: 4096n, length: 4096n };
    const measure = (from: number, to: number): number => {
      const began = performance.now();
      for (let i = from; i < to; i++) fd.ioasMap(args);
      return ((performance.now() - began) * 1e6) / (to - from);
    };
    measure(0, 80);
    const first = measure(80, 120);
    measure(120, 99_900);
    const last = measure(99_900, 100_100);
    if (round < 2) continue;
    early.push(first);
    late.push(last);
  }
  const each = (values: readonly number[]): string => `${median(values).toFixed(0)} ns`;
  context.report({
    metric: "ioas.map.automatic.100k",
    value: median(late) / median(early),
    unit: "x",
    goal: GOAL.auto,
    floor: `number 100 ${each(early)}, here ${each(late)}`,
  });
}
