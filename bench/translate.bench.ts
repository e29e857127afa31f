/**
 * Translation against C that does the same steps on the same bytes: walk of a stage-2 table,
 * look-up in the IOTLB, and whole translations by way of context and PASID entry.
 *
 * *Dependent*: the next address comes from the last result, as in a chain of requests;
 * *independent*: it does not, and C overlaps more. Whole walks use an IOTLB of 8 entries, so that
 * it misses.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DmaAnswer, DmaRequest, type VtdUnit } from "../src/iommu/index.js";
import { Iotlb } from "../src/iommu/iotlb.js";
import { Stage2Walk } from "../src/iommu/walk-stage2.js";
import type { PhysicalMemory } from "../src/memory/index.js";
import { VtdBench } from "../test/support/vtd-tables.js";
import { compare, compileFloor, type Outcome, runFloor, sliced, withScratch } from "./floor.js";
import type { Bench, BenchContext } from "./harness.js";

const REQUESTER = 0x0310;
const PASID = 0x1234;
const DOMAIN = 0x1007;
const IOVA_HI = 64;
const GOAL = { bare: 1.25, dependent: 1.5, independent: 2.5 } as const;

/** State of the generator of addresses, as in the floor. */
let random = 12345;

type Stage = "stage1" | "stage2" | "nested";
interface Case {
  readonly stage: Stage;
  readonly hasPasid: boolean;
  readonly pagesLog2: number;
  readonly iotlbEntries: number;
}

interface Subject {
  readonly setting: Case;
  readonly unit: VtdUnit;
  readonly memory: PhysicalMemory;
  readonly table: bigint;
  readonly image: string;
}

export const bench: Bench = {
  name: "translation against C",
  run: (context) =>
    withScratch((folder) => {
      let program: string;
      try {
        program = compileFloor("translate", folder);
      } catch (error) {
        context.skip("translate", `no C compiler: ${String(error).slice(0, 80)}`);
        return;
      }
      const count = context.size === "ci" ? 2 ** 18 : 2 ** 20;
      for (const pagesLog2 of [10, 16]) bareWalk(context, program, folder, pagesLog2, count);
      bareIotlb(context, program, folder, count);
      for (const stage of ["stage1", "stage2", "nested"] as const) {
        for (const hasPasid of [false, true]) {
          const hit = { stage, hasPasid, pagesLog2: 10, iotlbEntries: 4096 };
          whole(context, program, folder, hit, count);
          for (const pagesLog2 of [10, 16]) {
            const setting = { stage, hasPasid, pagesLog2, iotlbEntries: 8 };
            whole(context, program, folder, setting, count / 4);
          }
        }
      }
    }),
};

function bareWalk(
  context: BenchContext,
  program: string,
  folder: string,
  pagesLog2: number,
  count: number,
): void {
  const setting = { stage: "stage2", hasPasid: false, pagesLog2, iotlbEntries: 8 } as const;
  const subject = prepare(setting, folder);
  const walk = new Stage2Walk(subject.memory, {
    addressWidth: 52,
    pages2M: true,
    pages1G: true,
    snoopControl: true,
    deviceTlb: true,
  });
  const table = halves(subject.table);
  for (const order of ["dependent", "independent"] as const) {
    const one = order === "dependent" ? walkDependent : walkIndependent;
    compare(context, {
      metric: `walk.${order}.${2 ** pagesLog2}-pages`,
      goal: order === "dependent" ? GOAL.bare : GOAL.independent,
      floor: () => runFloor(program, [subject.image, "walk", order, `${count}`]),
      own: () =>
        warmed(
          count,
          () => walk.reads,
          (n) => one(walk, table.lo, table.hi, pagesLog2, n),
        ),
    });
  }
}

function walkDependent(w: Stage2Walk, lo: number, hi: number, log2: number, n: number): number {
  let x = random;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    w.walk(lo, hi, 4, (x >>> (32 - log2)) << 12, IOVA_HI, 1, false);
    sum = (sum + w.lo) | 0;
    x = (Math.imul(x, 1664525) + 1013904223 + (w.lo >>> 12)) | 0;
  }
  random = x;
  return sum >>> 0;
}

function walkIndependent(w: Stage2Walk, lo: number, hi: number, log2: number, n: number): number {
  let x = random;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    w.walk(lo, hi, 4, (x >>> (32 - log2)) << 12, IOVA_HI, 1, false);
    sum = (sum + w.lo) | 0;
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
  }
  random = x;
  return sum >>> 0;
}

function bareIotlb(context: BenchContext, program: string, folder: string, count: number): void {
  const pagesLog2 = 10;
  const setting = { stage: "stage2", hasPasid: false, pagesLog2, iotlbEntries: 4096 } as const;
  const subject = prepare(setting, folder);
  const iotlb = new Iotlb(4096);
  const walk = new Stage2Walk(subject.memory, {
    addressWidth: 52,
    pages2M: true,
    pages1G: true,
    snoopControl: true,
    deviceTlb: true,
  });
  const table = halves(subject.table);
  for (let page = 0; page < 2 ** pagesLog2; page++) {
    walk.walk(table.lo, table.hi, 4, page << 12, IOVA_HI, 1, false);
    iotlb.insert(DOMAIN, 0, false, page << 12, IOVA_HI, walk.lo, walk.hi, 12, walk.rights);
  }
  for (const order of ["dependent", "independent"] as const) {
    const one = order === "dependent" ? findDependent : findIndependent;
    compare(context, {
      metric: `iotlb.${order}.${2 ** pagesLog2}-pages`,
      goal: order === "dependent" ? GOAL.bare : GOAL.independent,
      floor: () => runFloor(program, [subject.image, "iotlb", order, `${count}`]),
      own: () =>
        warmed(
          count,
          () => 0,
          (n) => one(iotlb, pagesLog2, n),
        ),
    });
  }
}

function findDependent(iotlb: Iotlb, log2: number, n: number): number {
  let x = random;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    if (!iotlb.find(DOMAIN, 0, false, (x >>> (32 - log2)) << 12, IOVA_HI)) throw new Error("miss");
    sum = (sum + iotlb.lo) | 0;
    x = (Math.imul(x, 1664525) + 1013904223 + (iotlb.lo >>> 12)) | 0;
  }
  random = x;
  return sum >>> 0;
}

function findIndependent(iotlb: Iotlb, log2: number, n: number): number {
  let x = random;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    if (!iotlb.find(DOMAIN, 0, false, (x >>> (32 - log2)) << 12, IOVA_HI)) throw new Error("miss");
    sum = (sum + iotlb.lo) | 0;
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
  }
  random = x;
  return sum >>> 0;
}

function whole(
  context: BenchContext,
  program: string,
  folder: string,
  setting: Case,
  count: number,
): void {
  const subject = prepare(setting, folder);
  const request = new DmaRequest();
  const answer = new DmaAnswer();
  request.requester = REQUESTER;
  request.hasPasid = setting.hasPasid;
  request.pasid = setting.hasPasid ? PASID : 0;
  request.hi = IOVA_HI;
  const { unit } = subject;
  for (let page = 0; page < 2 ** setting.pagesLog2; page++) {
    request.lo = page << 12;
    unit.translate(request, answer);
    if (answer.status !== 0) throw new Error(unit.faultName(answer.reason));
  }
  const state = setting.iotlbEntries === 8 ? "walk" : "hit";
  const who = setting.hasPasid ? "pasid" : "rid";
  for (const order of ["dependent", "independent"] as const) {
    const one = order === "dependent" ? translateDependent : translateIndependent;
    compare(context, {
      metric: `translate.${setting.stage}.${who}.${state}.${order}.${2 ** setting.pagesLog2}-pages`,
      goal: GOAL[order],
      floor: () => runFloor(program, [subject.image, "translate", order, `${count}`]),
      own: () =>
        warmed(
          count,
          () => unit.memoryReads,
          (n) => one(unit, request, answer, setting.pagesLog2, n),
        ),
    });
  }
}

function translateDependent(
  unit: VtdUnit,
  request: DmaRequest,
  answer: DmaAnswer,
  log2: number,
  n: number,
): number {
  let x = random;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    request.lo = (x >>> (32 - log2)) << 12;
    unit.translate(request, answer);
    sum = (sum + answer.lo) | 0;
    x = (Math.imul(x, 1664525) + 1013904223 + (answer.lo >>> 12)) | 0;
  }
  random = x;
  return sum >>> 0;
}

function translateIndependent(
  unit: VtdUnit,
  request: DmaRequest,
  answer: DmaAnswer,
  log2: number,
  n: number,
): number {
  let x = random;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    request.lo = (x >>> (32 - log2)) << 12;
    unit.translate(request, answer);
    sum = (sum + answer.lo) | 0;
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
  }
  random = x;
  return sum >>> 0;
}

/** As the floor: the generator's first value, a quarter of the operations, then what counts. */
function warmed(count: number, reads: () => number, one: (n: number) => number): Outcome {
  // What was compiled for another case is thrown away and made anew before anything counts.
  one(2 ** 17);
  random = 12345;
  one(count / 4);
  return sliced(count, reads, one);
}

/** Tables of a case, a unit that walks them, and their image for the floor. */
function prepare(setting: Case, folder: string): Subject {
  const vtd = new VtdBench("scalable", { iotlbEntries: setting.iotlbEntries });
  const { tables } = vtd;
  const directory = tables.frames(16);
  const pages = 2 ** setting.pagesLog2;
  const outer = tables.frame();
  const inner = tables.frame();
  const iova = BigInt(IOVA_HI) << 32n;
  // Targets are scattered over 52 bits, guest pages over 4 GiB.
  const target = (page: number): bigint =>
    0x100_0000_0000n + (BigInt((page * 40503) % 65536) << 24n) + (BigInt(page & 7) << 12n);
  const guestPage = (page: number): bigint => 0x8000_0000n + (BigInt((page * 257) % 65536) << 12n);
  let nextTable = 0x4000_0000n;
  const guest = {
    frame: () => {
      const address = nextTable;
      nextTable += 0x1000n;
      tables.map2(outer, 4, address, tables.frame());
      return address;
    },
    where: (address: bigint) => {
      const entry = tables.read(tables.entry(tables.host, outer, 4, address, 0x1000, 3n));
      return (entry & 0xf_ffff_ffff_f000n) | (address & 0xfffn);
    },
  };
  const isNested = setting.stage === "nested";
  const innerRoot = isNested ? guest.frame() : inner;
  for (let page = 0; page < pages; page++) {
    const from = iova + (BigInt(page) << 12n);
    if (setting.stage === "stage2") tables.map2(outer, 4, from, target(page));
    else if (!isNested) tables.map1(tables.host, inner, 4, from, target(page));
    else {
      tables.map1(guest, innerRoot, 4, from, guestPage(page));
      tables.map2(outer, 4, guestPage(page), target(page));
    }
  }
  const type = setting.stage === "stage1" ? 1n : setting.stage === "stage2" ? 2n : 3n;
  const pasid = setting.hasPasid ? PASID : 0;
  const first = outer | 1n | (2n << 2n) | (type << 6n);
  tables.pasidEntry(directory, pasid, first, BigInt(DOMAIN), innerRoot);
  // Device TLB, PASIDs; 2^16 PASIDs.
  tables.scalableContext(vtd.root, REQUESTER, directory | (3n << 9n) | 0b1101n);
  const image = join(folder, `${Object.values(setting).join("-")}.image`);
  writeImage(image, vtd, setting, outer);
  return { setting, unit: vtd.unit, memory: tables.memory, table: outer, image };
}

function writeImage(path: string, vtd: VtdBench, setting: Case, table: bigint): void {
  const { memory } = vtd.tables;
  const frames = [...memory.tables()].map(({ pfn }) => pfn);
  const header = new Uint32Array(16);
  const root = halves(vtd.root);
  const { lo, hi } = halves(table);
  const hasPasid = setting.hasPasid ? 1 : 0;
  header.set([frames.length, root.lo, root.hi, lo, hi, REQUESTER, hasPasid]);
  header.set([setting.hasPasid ? PASID : 0, IOVA_HI, setting.pagesLog2], 7);
  header.set([setting.iotlbEntries, DOMAIN], 10);
  const numbers = new Uint32Array(
    frames.flatMap((pfn) => [pfn % 2 ** 32, Math.floor(pfn / 2 ** 32)]),
  );
  const bytes = new Uint8Array(frames.length * 4096);
  frames.forEach((pfn, i) => {
    memory.read(pfn, 0, bytes.subarray(i * 4096, (i + 1) * 4096));
  });
  writeFileSync(path, Buffer.concat([header, numbers, bytes].map((a) => Buffer.from(a.buffer))));
}

function halves(address: bigint): { readonly lo: number; readonly hi: number } {
  return {
    lo: Number(BigInt.asIntN(32, address)),
    hi: Number(BigInt.asIntN(32, address >> 32n)),
  };
}
