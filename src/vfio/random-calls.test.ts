/**
 * Random calls on the files of VFIO: whatever a program asks, it gets an answer or a refusal, and
 * when it is gone nothing of it is left.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeEventFd } from "../../test/support/fake-call.js";
import { Random } from "../../test/support/random.js";
import { at, ENGINE, STUB, VfioBench, words } from "../../test/support/vfio-machine.js";
import { FileKind } from "../files/index.js";
import { formatBdf } from "../units/index.js";

type PassedKind = number | string;

const SEEDS = [20_261_124, 7, 99];
const STEPS = 4000;
/** By kind of file. */
const OF_KIND: Readonly<Record<number, readonly number[]>> = {
  [FileKind.iommufd]: [0x3b81, 0x3b85, 0x3b86, 0x3b80],
  [FileKind.vfioContainer]: [
    0x3b64, 0x3b65, 0x3b66, 0x3b66, 0x3b71, 0x3b71, 0x3b70, 0x3b71, 0x3b72, 0x3b75,
  ],
  [FileKind.vfioGroup]: [0x3b67, 0x3b68, 0x3b6a, 0x3b68, 0x3b6a, 0x3b69],
  [FileKind.vfioDevice]: [
    0x3b76, 0x3b76, 0x3b77, 0x3b78, 0x3b6b, 0x3b6c, 0x3b6d, 0x3b6e, 0x3b6e, 0x3b6f, 0x3b70, 0x3b71,
    0x3b74, 0x3b75, 0x3b75,
  ],
};
const CALLS = Object.values(OF_KIND).flat();
/** Data and action of VFIO_DEVICE_SET_IRQS. */
const FLAGS = [0x24, 0x24, 0x24, 0x21, 0x22, 0x11, 0x14, 0x09, 0x0a];
const pick = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)] as T;

/** A number that is often small, often a flag, sometimes anything. */
function someNumber(random: Random): number {
  switch (random.below(5)) {
    case 0:
      return random.below(6);
    case 1:
      return 2 ** random.below(32);
    case 2:
      return pick(random, [0x24, 0x21, 0x22, 0x11, 0x20003, 0x1000b, 0x1000, 0x7fff_f000]);
    case 3:
      return 0;
    default:
      return random.below(2 ** 32);
  }
}

class Program {
  readonly bench: VfioBench;
  readonly random: Random;
  readonly events: FakeEventFd[] = [];
  readonly fds: number[] = [];
  readonly names: bigint[] = [];
  /** Calls that succeeded, by kind of file and number. */
  readonly done = new Set<string>();

  constructor(random: Random) {
    this.random = random;
    this.bench = new VfioBench({
      devices: [
        { ...ENGINE, msi: 4, pin: "A" },
        { ...STUB, msix: 4, flr: true },
      ],
      oneBus: random.below(2) === 0,
      rules: pick(random, ["device-centric", "linux-7.2"] as const),
    });
    for (const name of ["engine", "stub"]) {
      const text = formatBdf(this.bench.bdf(name));
      const address = this.bench.process.memory.alloc(text.length + 1);
      this.bench.process.memory.at(address, text.length).set(new TextEncoder().encode(text));
      this.names.push(address);
    }
  }

  step(): void {
    const { bench, random } = this;
    if (random.below(150) === 0) this.end();
    switch (random.below(12)) {
      case 0:
        this.#open();
        return;
      case 1:
        if (this.fds.length > 4) this.#close(random.below(this.fds.length));
        return;
      case 2: {
        const event = new FakeEventFd();
        this.events.push(event);
        this.fds.push(bench.process.install(event));
        return;
      }
      case 3:
        for (const event of this.events) event.signalFromOutside();
        return;
      case 4:
        this.#transfer();
        return;
      default:
        this.#call();
    }
  }

  end(): void {
    while (this.fds.length > 0) this.#close(0);
  }

  #open(): void {
    const { bench, random } = this;
    const name = pick(random, ["engine", "stub"]);
    const id = bench.system.isolation.groupOf(bench.bdf(name))?.id ?? 0;
    try {
      this.fds.push(
        pick(random, [
          () => bench.device(name),
          () => bench.iommufd(),
          () => bench.process.install(bench.files.openContainer(bench.process)),
          () => bench.process.install(bench.files.openGroup(id)),
        ])(),
      );
    } catch (error) {
      assert.match(String(error), /EBUSY/);
    }
  }

  #close(index: number): void {
    const [fd] = this.fds.splice(index, 1);
    if (fd !== undefined) this.bench.close(fd);
  }

  #own(): number | undefined {
    const { descriptors } = this.bench.process;
    const own = this.fds.filter((fd) => descriptors.get(fd)?.kind === "own");
    return own.length === 0 ? undefined : pick(this.random, own);
  }

  #transfer(): void {
    const { bench, random } = this;
    const fd = this.#own();
    if (fd === undefined) return;
    const file = bench.file(fd);
    const region = pick(random, [0, 1, 2, 6, 7, 7, 7, 8, 9]);
    const end = region === 7 ? pick(random, [0x40, 0x100, 0x1000]) : 0x9000;
    const offset = at(region, random.below(end));
    if (random.below(2) === 0) bench.call.read(file, random.below(64), offset);
    else bench.call.write(file, words(someNumber(random), someNumber(random)), offset);
    bench.call.mmap(file, { offset: offset & ~0xfffn, length: 4096n, protection: 3, flags: 1 });
  }

  #call(): void {
    const { bench, random } = this;
    const fd = this.#own();
    if (fd === undefined) return;
    const { kind } = bench.file(fd);
    const command = pick(random, random.below(8) === 0 ? CALLS : (OF_KIND[kind] ?? CALLS));
    const values = [...this.#plausible(command)];
    while (values.length < 12) values.push(0);
    if (random.below(4) === 0) values[random.below(12)] = this.#word();
    const scratch = bench.process.memory;
    const address = scratch.base + BigInt(scratch.bytes.length - 4096);
    scratch.at(address, 48).set(words(...values));
    const argument = command === 0x3b6a ? pick(random, this.names) : address;
    const isNumber = command === 0x3b65 || command === 0x3b66;
    const given = isNumber ? BigInt(pick(random, [1, 3, 3, 4, 9])) : argument;
    const result = bench.call.ioctl(bench.file(fd), command, given);
    if (result >= 0) this.done.add(`${kind} ${command.toString(16)}`);
    const made = bench.call.lastDescriptor?.fd;
    if (made !== undefined) this.fds.push(made);
  }

  /** What a program might well ask. */
  #plausible(command: number): readonly number[] {
    const { random } = this;
    const fd = (...kinds: PassedKind[]) => this.#descriptor(kinds);
    const events = () => [0, 1, 2].map(() => (random.below(3) === 0 ? -1 : fd("eventfd")));
    const page = () => 4096 * random.below(32);
    const va = 0x1000_0000 + page();
    switch (command) {
      case 0x3b68:
        return [fd(FileKind.vfioContainer, FileKind.iommufd)];
      case 0x3b6e:
        return [
          36,
          pick(random, FLAGS),
          random.below(5),
          random.below(4),
          random.below(4),
          ...events(),
        ];
      case 0x3b74:
        return [32, 4, 8 * random.below(600), random.below(2), random.below(3), 0, fd("eventfd")];
      case 0x3b75:
        return pick(random, [
          [8, 0x20003],
          [8, 0x20005],
          [16, 0x20004, fd("eventfd"), 0],
          [40, 0x1000b, 2 * random.below(2), 2, 0, 1, page(), 0, 4096, 0],
        ]);
      case 0x3b76:
        return [16, 0, fd(FileKind.iommufd), 0];
      case 0x3b77:
        return [12, 0, random.below(8)];
      case 0x3b71:
        return [32, 3, va, 0, page(), 0, 4096, 0];
      case 0x3b72:
        return [24, 2 * random.below(2), page(), 0, 4096, 0];
      case 0x3b85:
        return [40, 7, random.below(6), 0, va, 0, 4096, 0, page(), 0];
      case 0x3b86:
        return [24, random.below(6), page(), 0, 4096, 0];
      case 0x3b81:
        return [12, 0, 0];
      default:
        return [44, 0, random.below(9), 0];
    }
  }

  /** One of these kinds, or now and then any. */
  #descriptor(kinds: readonly PassedKind[]): number {
    const { descriptors } = this.bench.process;
    const kindOf = (fd: number): PassedKind | undefined => {
      const passed = descriptors.get(fd);
      return passed?.kind === "own" ? passed.file.kind : passed?.kind;
    };
    const fitting = this.fds.filter((fd) => kinds.includes(kindOf(fd) ?? 0));
    const list = fitting.length === 0 || this.random.below(6) === 0 ? this.fds : fitting;
    return list.length === 0 ? -1 : pick(this.random, list);
  }

  /** A number, or a descriptor, or an address of the program. */
  #word(): number {
    const { random } = this;
    if (random.below(3) === 0 && this.fds.length > 0) return pick(random, this.fds);
    if (random.below(6) === 0) return 0x1000_0000 + 4096 * random.below(64);
    return someNumber(random);
  }
}

test("random calls are answered or refused, and leave nothing behind", () => {
  const done = new Set<string>();
  for (const seed of SEEDS) {
    const program = new Program(new Random(seed));
    const { bench } = program;
    for (let step = 0; step < STEPS; step++) program.step();
    program.end();
    for (const call of program.done) done.add(call);
    const where = `seed ${seed}`;
    assert.equal(bench.interrupts.used, 0, where);
    for (const name of ["engine", "stub"]) {
      const bdf = bench.bdf(name);
      assert.equal(bench.system.ownership.ownerOf(bdf), undefined, where);
      assert.equal(bench.files.isInUse(bdf), false, where);
    }
    for (const event of program.events) {
      assert.deepEqual([event.kept, event.listeners], [0, 0], where);
    }
    assert.equal(bench.process.memory.pins.size, 0, where);
    assert.equal(bench.process.pinnedPages, 0, where);
  }
  const wanted = ["8 3b76", "8 3b77", "8 3b6e", "8 3b6f", "8 3b75", "7 3b6a", "6 3b71", "1 3b85"];
  assert.deepEqual(
    wanted.filter((call) => !done.has(call)),
    [],
    "calls that never succeeded",
  );
});
