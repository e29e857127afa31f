/**
 * Copies by a DMA engine, translated by its unit, against memcpy of the same bytes in this process.
 *
 * Source and destination are user memory, mapped in pages of 4 KiB or in one run, and nobody
 * watches: as it is without a trace. The engine sends requests of 4 KiB. 64 KiB of scattered pages,
 * 1 MiB of scattered pages, 1 MiB in one run. Its cost is one read and one write through the fabric
 * and the unit for each page, so it grows with pages, not with bytes.
 */
import { type EngineCommand, Opcode, startCommand } from "../src/devices/index.js";
import { HostDriver, machineHost } from "../src/driver/index.js";
import { Machine } from "../src/machine/index.js";
import { BufferBacking } from "../src/memory/index.js";
import { buildPlatform, readPlatform } from "../src/platform/index.js";
import { type Bench, type BenchContext, interleave, median, medianRatio } from "./harness.js";

const PAGE = 4096;
const ROUNDS = 7;
const SOURCE = 0x1000;
const DESTINATION = 0x9000;
const PLAIN = { nestParent: false, dirtyTracking: false, pasid: false, userAllocated: false };

interface Setting {
  readonly name: string;
  readonly pages: number;
  readonly scattered: boolean;
  /** Times as long as memcpy: what is aimed at, stated and not judged. */
  readonly aim: number;
}

const SETTINGS: readonly Setting[] = [
  { name: "64k-scattered", pages: 16, scattered: true, aim: 2 },
  { name: "1m-scattered", pages: 256, scattered: true, aim: 1 / 0.7 },
  { name: "1m-run", pages: 256, scattered: false, aim: 1 / 0.7 },
];

export const bench: Bench = {
  name: "DMA copies against memcpy",
  run: async (context) => {
    for (const setting of SETTINGS) await compare(context, setting);
  },
};

async function compare(context: BenchContext, setting: Setting): Promise<void> {
  const { pages, name } = setting;
  const bytes = pages * PAGE;
  const { copy, from, to } = prepare(setting);
  const times = Math.ceil((context.size === "ci" ? 2 ** 23 : 2 ** 26) / bytes);
  from.forEach((_, i) => {
    from[i] = i * 7 + (i >>> 12);
  });
  copy();
  if (Buffer.compare(from, to) !== 0) throw new Error(`${name}: the copy is not equal`);
  const repeat = (what: () => void) => () => {
    for (let i = 0; i < times; i++) what();
  };
  const plain = () => to.set(from);
  const taken = await interleave(ROUNDS, { plain: repeat(plain), engine: repeat(copy) }, 2);
  const rate = (ms: number[]) => ((bytes * times) / median(ms) / 1e6).toFixed(2);
  const rates = `memcpy ${rate(taken.plain)} GB/s, here ${rate(taken.engine)}`;
  context.report({
    metric: `dma.copy.${name}`,
    value: medianRatio(taken.engine, taken.plain),
    unit: "x",
    floor: `${rates}; aim ${setting.aim.toFixed(2)} x`,
  });
}

function prepare({ pages, scattered }: Setting) {
  const endpoint = { kind: "endpoint", name: "nic", engine: "dma", driver: null };
  const description = readPlatform({
    schema: "ioasis/platform/1",
    host: { kernel: "7.2.13", architecture: "x86", firmware: "acpi" },
    iommu: { kind: "intel" },
    roots: [{ devices: [{ kind: "root-port", acs: "full", below: [endpoint] }] }],
  });
  const machine = new Machine(buildPlatform(description));
  const driver = new HostDriver(machineHost(machine));
  const device = machine.names.get("nic");
  const engine = device === undefined ? undefined : machine.endpoint(device);
  if (device === undefined || engine === undefined) throw new Error("no engine");
  const domain = driver.allocPaging(device, PLAIN, undefined);
  const map = (label: string, at: number): Uint8Array => {
    const backing = new BufferBacking(label, pages * PAGE);
    machine.memory.addUserMemory(backing, scattered ? { runPages: 1 } : {});
    for (let i = 0; i < pages; i++) {
      domain.map(at + i, machine.memory.userFrame(backing, i), 1, 3);
    }
    return backing.bytes;
  };
  const from = map("source", SOURCE);
  const to = map("destination", DESTINATION);
  driver.attach(device, undefined, domain);
  const bar = {
    read: (offset: number, length: number) => engine.readBar(0, offset, length),
    write: (offset: number, data: Uint8Array) => engine.writeBar(0, offset, data),
  };
  const command: EngineCommand = {
    opcode: Opcode.Copy,
    source: BigInt(SOURCE) * 4096n,
    destination: BigInt(DESTINATION) * 4096n,
    length: pages * PAGE,
    chunk: PAGE,
  };
  const copy = (): void => {
    const { error } = startCommand(bar, command);
    if (error !== "None") throw new Error(`the engine says ${error}`);
  };
  return { copy, from, to };
}
