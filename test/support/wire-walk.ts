/**
 * Random calls of two programs on a platform, byte for byte as they would arrive through the door.
 * After each, the safety rules are read from the units' tables, and what a call may not change is
 * compared.
 *
 * A step is data; the steps of a failing run are kept in a file, which `replay` runs again.
 */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PlatformKernel, SystemDeviceFiles } from "../../src/door/index.js";
import { FileKind, type OpenFile } from "../../src/files/index.js";
import { type IommufdDevice, IommufdFile } from "../../src/iommufd/index.js";
import { BufferBacking } from "../../src/memory/index.js";
import { buildPlatform, readPlatform } from "../../src/platform/index.js";
import { brokenInvariants } from "../../src/play/invariants.js";
import type { Session } from "../../src/play/session.js";
import { type VfioContainer, VfioContainerFile } from "../../src/vfio/index.js";
import { FakeEventFd, FakeFile, FakeMemory, FakeProcess } from "./fake-call.js";
import { Random } from "./random.js";
import { containerArgument, randomArgument, WIRE_CALLS } from "./wire-values.js";

const PAGE = 4096;
/** Pages of each program. No call names the first, and the last is not there. */
const PAGES = 64;
const FILES_MAX = 10;
const BASE = 0x10000000n;

/** `selftest`: the mock devices of the kernel's own tests instead of PCI devices. */
export type WalkKind = "device-centric" | "linux-7.2" | "selftest";

export type WireStep = { readonly program: number } & (
  | { readonly do: "open"; readonly path: string }
  | { readonly do: "close"; readonly fd: number }
  | { readonly do: "call"; readonly fd: number; readonly command: number; readonly bytes: string }
  | { readonly do: "value"; readonly fd: number; readonly command: number; readonly value: string }
  | { readonly do: "read"; readonly fd: number; readonly length: number; readonly at?: string }
  | { readonly do: "write"; readonly fd: number; readonly bytes: string; readonly at?: string }
  | { readonly do: "mmap"; readonly fd: number; readonly pages: number; readonly at: string }
);

export interface KeptWalk {
  readonly kind: WalkKind;
  readonly why: string;
  readonly steps: readonly WireStep[];
}

const endpoint = (more: object = {}): object => ({
  kind: "endpoint",
  engine: "dma",
  flr: true,
  driver: "vfio-pci",
  ...more,
});
const PASID = {
  pasid: { width: 8, enabled: false },
  ats: { enabled: false },
  pri: { enabled: false },
};

const PLATFORM = {
  schema: "ioasis/platform/1",
  name: "walk",
  iommu: { kind: "intel" },
  roots: [
    {
      devices: [
        {
          kind: "root-port",
          acs: "full",
          below: [
            {
              kind: "switch-upstream",
              below: [
                { kind: "switch-downstream", at: "00.0", below: [endpoint(PASID)] },
                { kind: "switch-downstream", at: "00.1", below: [endpoint()] },
              ],
            },
          ],
        },
        { kind: "root-port", acs: "full", below: [endpoint(PASID)] },
        { kind: "root-port", acs: "full", below: [endpoint({ sriov: { vfs: 0, total: 2 } })] },
      ],
    },
  ],
};

const SELFTEST = {
  schema: "ioasis/platform/1",
  name: "selftest",
  host: { selftest: "linux-7.2" },
  iommu: { kind: "intel" },
  roots: [{ devices: [{ kind: "root-port", acs: "full" }] }],
};

/** See the head of the file. */
export class WireWalk {
  readonly kernel: PlatformKernel;
  readonly kind: WalkKind;
  readonly programs: readonly FakeProcess[];
  readonly steps: WireStep[] = [];
  readonly endings = new Map<string, number>();
  readonly #random: Random;
  readonly #paths: readonly string[];
  readonly #containers = new Set<VfioContainer>();
  #performed = 0;

  constructor(seed: number, kind: WalkKind) {
    this.#random = new Random(seed);
    this.kind = kind;
    const platform = kind === "selftest" ? SELFTEST : PLATFORM;
    this.kernel = new PlatformKernel(buildPlatform(readPlatform(platform)), {
      rules: kind === "selftest" ? "linux-7.2" : kind,
      files: (made) => new SystemDeviceFiles(made.system),
    });
    this.programs = [1, 2].map((pid) => this.#program(pid));
    this.#paths = this.#openable();
  }

  /** Runs random steps. @throws Error that names the file in which they were kept. */
  run(count: number, where: string): void {
    for (let i = 0; i < count; i++) {
      const step = this.#choose();
      this.steps.push(step);
      this.#kept(`${where} step ${i}`, () => this.perform(step));
    }
  }

  /** Closes everything. @throws Error when something is left. */
  close(where = "at the end"): void {
    this.#kept(where, () => {
      for (const program of this.programs) {
        for (const fd of [...program.descriptors.keys()]) program.close(fd);
      }
      const pinned = this.programs.map((one) => one.memory.pins.size);
      const contexts = this.kernel.system.contexts.size;
      if (contexts > 0 || pinned.some((count) => count > 0)) {
        throw new Error(`left: ${contexts} contexts, pages pinned ${pinned}`);
      }
      for (const { bdf } of this.kernel.system.machine.fabric.functions) {
        const owner = this.kernel.system.ownership.ownerOf(bdf);
        if (owner !== undefined) throw new Error(`function ${bdf} has an owner still`);
      }
    });
  }

  /** One step. @throws Error: a rule does not hold, or an exception that is no refusal. */
  perform(step: WireStep): void {
    const program = this.programs[step.program];
    if (program === undefined) throw new RangeError(`program ${step.program}`);
    const result = this.#act(program, step);
    const key = result >= 0 ? "ok" : `${result}`;
    this.endings.set(key, (this.endings.get(key) ?? 0) + 1);
    // A refused call changes nothing; that is looked at now and then.
    if (result >= 0 || this.#performed++ % 16 === 0) this.#check();
  }

  #act(program: FakeProcess, step: WireStep): number {
    const call = program.thread();
    if (step.do === "open") return this.#open(program, step.path);
    if (step.do === "close") {
      program.close(step.fd);
      return 0;
    }
    const passed = program.descriptors.get(step.fd);
    if (passed?.kind !== "own") return -9;
    const { file } = passed;
    switch (step.do) {
      case "call": {
        const bytes = Uint8Array.from(Buffer.from(step.bytes, "hex"));
        program.memory.at(BASE + BigInt(PAGE), bytes.length).set(bytes);
        return call.ioctl(file, step.command, BASE + BigInt(PAGE));
      }
      case "value":
        return call.ioctl(file, step.command, BigInt(step.value));
      case "read": {
        const got = call.read(
          file,
          step.length,
          step.at === undefined ? undefined : BigInt(step.at),
        );
        return typeof got === "number" ? got : got.length;
      }
      case "write": {
        const bytes = Uint8Array.from(Buffer.from(step.bytes, "hex"));
        return call.write(file, bytes, step.at === undefined ? undefined : BigInt(step.at));
      }
      case "mmap": {
        const request = { length: BigInt(step.pages * PAGE), protection: 3, flags: 1 };
        const region = call.mmap(file, { ...request, offset: BigInt(step.at) });
        if (typeof region === "number") return region;
        region.released?.();
        return 0;
      }
    }
  }

  #open(program: FakeProcess, path: string): number {
    const call = program.thread();
    try {
      const file = this.kernel.open(call, path, 2);
      if (file instanceof VfioContainerFile) this.#containers.add(file.container);
      return program.install(file);
    } catch (error) {
      if (typeof (error as { errno?: unknown }).errno !== "number") throw error;
      return -(error as { errno: number }).errno;
    }
  }

  #choose(): WireStep {
    const random = this.#random;
    const program = random.below(2);
    const files = this.#filesOf(program);
    const kind = random.below(100);
    if (files.length < 3 || (kind < 6 && files.length < FILES_MAX)) {
      return { program, do: "open", path: random.pick(this.#paths) };
    }
    const [fd, file] = random.pick(files);
    if (kind < 8) return { program, do: "close", fd };
    if (kind < 12) return { program, do: "read", fd, ...this.#place(), length: random.below(100) };
    if (kind < 18) return { program, do: "write", fd, ...this.#place(), bytes: this.#someBytes() };
    if (kind < 19) {
      const at = `${BigInt(random.below(10)) << 40n}`;
      return { program, do: "mmap", fd, pages: 1 + random.below(8), at };
    }
    return this.#chooseCall(program, fd, file);
  }

  #chooseCall(program: number, fd: number, file: OpenFile): WireStep {
    const random = this.#random;
    const name = NAMES[file.kind];
    const own = WIRE_CALLS.filter(({ shape }) => name !== undefined && shape.files.includes(name));
    const first = own.filter(({ shape }) => FIRST_CALLS.has(shape.name));
    const kind = random.below(10);
    const call = random.pick(
      kind === 0 || own.length === 0 ? WIRE_CALLS : kind < 4 && first.length > 0 ? first : own,
    );
    const { command, argument } = call.shape;
    if (argument === "value" || argument === "none") {
      return { program, do: "value", fd, command, value: `${random.below(12)}` };
    }
    if (random.below(30) === 0) {
      const value = random.pick([0n, BASE + BigInt(PAGES * PAGE) - 4n, 2n ** 64n - 8n]);
      return { program, do: "value", fd, command, value: `${value}` };
    }
    const process = this.programs[program] as FakeProcess;
    const world = {
      base: BASE + BigInt(2 * PAGE),
      pages: PAGES - 3,
      descriptors: [...process.descriptors.keys()],
      iommufds: this.#ofKind(program, FileKind.iommufd),
      containers: this.#ofKind(program, FileKind.vfioContainer),
      objects: this.#objectsFor(file),
    };
    const bytes =
      argument === "string"
        ? this.#name()
        : argument === "int"
          ? containerArgument(random, world)
          : randomArgument(call, random, world);
    return { program, do: "call", fd, command, bytes: Buffer.from(bytes).toString("hex") };
  }

  #place(): { readonly at?: string } {
    const random = this.#random;
    if (random.below(3) === 0) return {};
    const region = BigInt(random.below(10)) << 40n;
    const within = random.pick([0x1000, 0, 4, 0x60, random.below(0x5000), random.below(300)]);
    return { at: `${region + BigInt(within)}` };
  }

  #someBytes(): string {
    const bytes = Uint8Array.from({ length: 1 << this.#random.below(4) }, () =>
      this.#random.below(7),
    );
    return Buffer.from(bytes).toString("hex");
  }

  #name(): Uint8Array {
    const { fabric } = this.kernel.system.machine;
    const names = [...fabric.functions].map(({ bdf }) => bdf & 0xffff);
    const bdf = this.#random.pick(names);
    const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
    const text = `0000:${hex(bdf >> 8, 2)}:${hex((bdf >> 3) & 31, 2)}.${bdf & 7}\0`;
    return new TextEncoder().encode(text);
  }

  /** Of its own context, or of any for a device. */
  #objectsFor(file: OpenFile): { readonly id: number; readonly kind: string }[] {
    const own = file instanceof IommufdFile ? [file.iommufd] : [...this.kernel.system.contexts];
    return own.flatMap((fd) => [...fd.state.objects.all()]);
  }

  #ofKind(program: number, kind: FileKind): number[] {
    return this.#filesOf(program).flatMap(([fd, file]) => (file.kind === kind ? [fd] : []));
  }

  #filesOf(program: number): [number, OpenFile][] {
    const all = [...(this.programs[program] as FakeProcess).descriptors];
    return all.flatMap(([fd, passed]) => (passed.kind === "own" ? [[fd, passed.file]] : []));
  }

  /** Frames in the machine's memory, an eventfd and two files. */
  #program(pid: number): FakeProcess {
    const { memory } = this.kernel.system.machine;
    const fake = new FakeMemory(`process ${pid}`, BASE, PAGES * PAGE);
    const backing = new BufferBacking(`process ${pid}`, PAGES * PAGE);
    fake.firstFrame = memory.addUserMemory(backing);
    fake.unmap(BASE + BigInt((PAGES - 1) * PAGE), PAGE);
    const program = new FakeProcess(pid, fake);
    program.mayLockMemory = pid === 1;
    program.install(new FakeEventFd());
    const file = new FakeFile(16 * PAGE);
    file.firstFrame = memory.addUserMemory(new BufferBacking(`file ${pid}`, 16 * PAGE));
    program.install(file);
    program.install(new FakeFile(PAGE, false));
    return program;
  }

  #openable(): string[] {
    const paths = ["/dev/iommu", "/dev/iommu", "/dev/iommu", "/dev/vfio/vfio"];
    const { fabric } = this.kernel.system.machine;
    for (const { bdf } of fabric.functions) {
      const number = this.kernel.system.drivers.vfioNumberOf(bdf);
      const group = this.kernel.system.isolation.groupOf(bdf)?.id;
      if (number === undefined || group === undefined) continue;
      paths.push(`/dev/vfio/devices/vfio${number}`, `/dev/vfio/${group}`);
    }
    return paths;
  }

  #check(): void {
    const { system } = this.kernel;
    const bound = new Map<string, { fd: unknown; object: IommufdDevice }>();
    for (const fd of system.contexts) {
      for (const object of fd.state.objects.all()) {
        if (object.kind !== "device") continue;
        bound.set(`${bound.size}`, { fd, object: fd.device(object.id) });
      }
    }
    const containers = new Map([...this.#containers].map((one, i) => [`${i}`, one]));
    const session = { world: system, bound, containers } as unknown as Session;
    const [broken] = brokenInvariants(session, []);
    if (broken !== undefined) throw new Error(`rule ${broken.rule}: ${broken.text}`);
    for (const { memory } of this.programs) {
      if (memory.bytes.subarray(0, PAGE).some((byte) => byte !== 0)) {
        throw new Error(`${memory.label}: memory that no call named was written`);
      }
    }
  }

  #kept(where: string, work: () => void): void {
    try {
      work();
    } catch (cause) {
      const why = `${where}: ${cause instanceof Error ? cause.message : cause}`;
      const kept: KeptWalk = { kind: this.kind, why, steps: this.steps };
      const file = join(mkdtempSync(join(tmpdir(), "ioasis-calls-")), "calls.json");
      writeFileSync(file, JSON.stringify(kept, null, 1));
      throw new Error(`${why}; kept in ${file}`, { cause });
    }
  }
}

/** Without these most others are refused. */
const FIRST_CALLS: ReadonlySet<string> = new Set([
  ...["IOMMU_IOAS_ALLOC", "IOMMU_IOAS_MAP", "IOMMU_HWPT_ALLOC", "VFIO_DEVICE_BIND_IOMMUFD"],
  ...["VFIO_DEVICE_ATTACH_IOMMUFD_PT", "VFIO_GROUP_SET_CONTAINER", "VFIO_GROUP_GET_DEVICE_FD"],
  ...["VFIO_SET_IOMMU", "VFIO_IOMMU_MAP_DMA", "IOMMU_TEST_CMD"],
]);

const NAMES: Readonly<Record<number, "iommufd" | "container" | "group" | "device" | "migration">> =
  {
    [FileKind.iommufd]: "iommufd",
    [FileKind.vfioContainer]: "container",
    [FileKind.vfioGroup]: "group",
    [FileKind.vfioDevice]: "device",
    [FileKind.migration]: "migration",
  };

/** Runs the steps of a kept file again. @throws Error where they break. */
export function replayWalk(file: string): WireWalk {
  const kept = JSON.parse(readFileSync(file, "utf8")) as KeptWalk;
  const walk = new WireWalk(0, kept.kind);
  for (const step of kept.steps) walk.perform(step);
  walk.close();
  return walk;
}
