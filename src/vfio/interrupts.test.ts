/** Interrupts: what a device sends ends at the eventfd that its user named, and nowhere else. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FakeEventFd } from "../../test/support/fake-call.js";
import { ENGINE, failed, STUB, VfioBench, words } from "../../test/support/vfio-machine.js";

import { resetFunction } from "./function-reset.js";

const SET_IRQS = 0x3b6e;
const RESET = 0x3b6f;
const CONFIG = 7;
const [INTX, MSI, MSIX, ERR, REQ] = [0, 1, 2, 3, 4];
const [NONE, BOOL, EVENTFD] = [1, 2, 4];
const [MASK, UNMASK, TRIGGER] = [8, 0x10, 0x20];
const REGISTERS = 0x1000;

interface Opened {
  readonly bench: VfioBench;
  readonly fd: number;
  set(flags: number, index: number, start: number, count: number, ...data: number[]): number;
  eventFd(): { fd: number; event: FakeEventFd };
}

function open(name = "engine", bench = new VfioBench()): Opened {
  const fd = bench.bound(name);
  return {
    bench,
    fd,
    set: (flags, index, start, count, ...data) =>
      bench.ioctl(fd, SET_IRQS, words(20 + 4 * data.length, flags, index, start, count, ...data)),
    eventFd: () => {
      const event = new FakeEventFd();
      return { fd: bench.process.install(event), event };
    },
  };
}

/** The engine ends a command and raises a vector. */
function raise({ bench, fd }: Opened, vector: number): void {
  bench.set(fd, 0, REGISTERS + 0x10, 4, 0);
  bench.set(fd, 0, REGISTERS + 0x40, 4, 0x8000_0000 + vector);
  bench.set(fd, 0, REGISTERS + 0x08, 4, 1);
}

function busMaster({ bench, fd }: Opened): void {
  bench.set(fd, CONFIG, 4, 2, bench.get(fd, CONFIG, 4, 2) | 4);
}

describe("a request for interrupts", () => {
  it("is refused for its form", () => {
    const opened = open();
    const { bench, fd, set } = opened;
    failed(bench.value(fd, SET_IRQS, 1n), "EFAULT");
    failed(bench.ioctl(fd, SET_IRQS, words(19, TRIGGER | NONE, MSIX, 0, 1)), "EINVAL");
    failed(set(TRIGGER | NONE, 5, 0, 1), "EINVAL");
    failed(set(TRIGGER | NONE | 0x40, MSIX, 0, 1), "EINVAL");
    failed(set(TRIGGER | NONE | BOOL, MSIX, 0, 1), "EINVAL");
    failed(set(TRIGGER, MSIX, 0, 1), "EINVAL");
    failed(set(TRIGGER | EVENTFD, MSIX, 8, 0), "EINVAL");
    failed(set(TRIGGER | EVENTFD, MSIX, 7, 2, -1, -1), "EINVAL");
    failed(set(TRIGGER | EVENTFD, MSIX, 0, 2, -1), "EINVAL");
    failed(set(MASK | NONE, MSIX, 0, 1), "ENOTTY");
    failed(set(UNMASK | NONE, MSIX, 0, 1), "ENOTTY");
    failed(set(NONE, MSIX, 0, 1), "ENOTTY");
    failed(set(TRIGGER | MASK | NONE, MSIX, 0, 1), "ENOTTY");
    failed(set(TRIGGER | NONE, MSIX, 0, 1), "EINVAL");
    failed(set(TRIGGER | EVENTFD, MSIX, 0, 1, 99), "EBADF");
    failed(set(TRIGGER | EVENTFD, MSIX, 0, 1, fd), "EINVAL");
    failed(set(TRIGGER | NONE, MSI, 0, 1), "EINVAL");
    assert.equal(bench.interrupts.used, 0);
  });
});

describe("MSI-X", () => {
  it("reaches the eventfd of its vector, through interrupt remapping", () => {
    const opened = open();
    const { bench, set, eventFd } = opened;
    const [a, b] = [eventFd(), eventFd()];
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 0, 2, a.fd, b.fd), 0);
    raise(opened, 1);
    assert.equal(b.event.count, 0, "bus mastering is off");
    busMaster(opened);
    assert.equal(b.event.count, 1, "it was pending");
    raise(opened, 0);
    assert.deepEqual([a.event.count, b.event.count], [1, 1]);
    assert.equal(bench.interrupts.used, 2);
    assert.equal(set(TRIGGER | NONE, MSIX, 0, 0), 0);
    assert.deepEqual([a.event.kept, b.event.kept, bench.interrupts.used], [0, 0, 0]);
    raise(opened, 0);
    assert.equal(a.event.count, 1);
  });

  it("vectors come and go one by one", () => {
    const opened = open();
    const { set, eventFd } = opened;
    busMaster(opened);
    const [a, b, c] = [eventFd(), eventFd(), eventFd()];
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 0, 1, a.fd), 0);
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 5, 1, b.fd), 0);
    raise(opened, 5);
    assert.equal(b.event.count, 1);
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 5, 1, -1), 0);
    raise(opened, 5);
    assert.deepEqual([b.event.count, b.event.kept], [1, 0]);
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 5, 1, c.fd), 0);
    assert.equal(c.event.count, 1, "what was pending while it had no eventfd");
  });

  it("can be injected by the user, and kept apart by kind", () => {
    const { set, eventFd } = open();
    const [a, b] = [eventFd(), eventFd()];
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 0, 2, a.fd, b.fd), 0);
    assert.equal(set(TRIGGER | NONE, MSIX, 0, 2), 0);
    assert.deepEqual([a.event.count, b.event.count], [1, 1]);
    const flags = TRIGGER | BOOL;
    assert.equal(set(flags, MSIX, 0, 2, 0x0100), 0);
    assert.deepEqual([a.event.count, b.event.count], [1, 2]);
  });

  it("a bad descriptor takes the block back", () => {
    const { bench, set, eventFd } = open();
    const a = eventFd();
    failed(set(TRIGGER | EVENTFD, MSIX, 0, 2, a.fd, 99), "EBADF");
    assert.deepEqual([a.event.kept, bench.interrupts.used], [0, 0]);
  });

  it("works after a reset as before", () => {
    const opened = open();
    const { bench, fd, set, eventFd } = opened;
    busMaster(opened);
    const a = eventFd();
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 3, 1, a.fd), 0);
    assert.equal(bench.value(fd, RESET), 0);
    raise(opened, 3);
    assert.equal(a.event.count, 1);
  });

  it("works after somebody else has reset the device", () => {
    const opened = open();
    const { bench, set, eventFd } = opened;
    busMaster(opened);
    const a = eventFd();
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 3, 1, a.fd), 0);
    assert.equal(resetFunction(bench.system.machine, bench.bdf("engine")), true);
    raise(opened, 3);
    assert.equal(a.event.count, 1);
  });

  it("a message that somebody forges signals nobody", () => {
    const bench = new VfioBench({ devices: [ENGINE, { ...ENGINE, name: "other" }] });
    const victim = open("engine", bench);
    const a = victim.eventFd();
    busMaster(victim);
    assert.equal(victim.set(TRIGGER | EVENTFD, MSIX, 0, 1, a.fd), 0);
    const attacker = open("other", bench);
    busMaster(attacker);
    for (let index = 0; index < 8; index++) {
      for (const address of [0xfee0_0010 + index * 32, 0xfee0_0018 + index * 32, 0xfee0_0000]) {
        bench.set(attacker.fd, 0, REGISTERS + 0x10, 4, 5);
        bench.set(attacker.fd, 0, REGISTERS + 0x28, 4, address);
        bench.set(attacker.fd, 0, REGISTERS + 0x38, 4, 0x31);
        bench.set(attacker.fd, 0, REGISTERS + 0x08, 4, 1);
      }
    }
    assert.equal(a.event.count, 0);
    raise(victim, 0);
    assert.equal(a.event.count, 1);
  });

  it("everything is given back when the device is closed", () => {
    const opened = open();
    const { bench, fd, set, eventFd } = opened;
    const [a, e, r] = [eventFd(), eventFd(), eventFd()];
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 0, 1, a.fd), 0);
    assert.equal(set(TRIGGER | EVENTFD, ERR, 0, 1, e.fd), 0);
    assert.equal(set(TRIGGER | EVENTFD, REQ, 0, 1, r.fd), 0);
    bench.close(fd);
    assert.deepEqual([a.event.kept, e.event.kept, r.event.kept], [0, 0, 0]);
    assert.equal(bench.interrupts.used, 0);
  });
});

describe("MSI", () => {
  it("is given out in powers of two, and ends at the eventfds in its order", () => {
    const bench = new VfioBench({ devices: [{ ...ENGINE, msi: 4 }] });
    const opened = open("engine", bench);
    const { set, eventFd } = opened;
    busMaster(opened);
    const [a, b, c] = [eventFd(), eventFd(), eventFd()];
    assert.equal(set(TRIGGER | EVENTFD, MSI, 0, 3, a.fd, b.fd, c.fd), 0);
    assert.equal(bench.interrupts.used, 4);
    for (const vector of [2, 0, 2]) raise(opened, vector);
    assert.deepEqual([a.event.count, b.event.count, c.event.count], [1, 0, 2]);
    failed(set(TRIGGER | EVENTFD, MSI, 3, 1, a.fd), "EINVAL");
    failed(set(TRIGGER | EVENTFD, MSIX, 0, 1, a.fd), "EINVAL");
    const at = bench.files.table.find(bench.bdf("engine"))?.config.map.find(5)?.offset ?? 0;
    assert.equal(
      bench.get(opened.fd, CONFIG, at + 2, 2) & 0x0f,
      4,
      "what is on is a call's matter",
    );
    bench.set(opened.fd, CONFIG, at + 2, 2, 0x81 | (5 << 4));
    assert.equal(bench.get(opened.fd, CONFIG, at + 2, 2) & 0x71, 0x21);
    assert.equal(set(TRIGGER | NONE, MSI, 0, 0), 0);
    assert.equal(bench.interrupts.used, 0);
    bench.set(opened.fd, CONFIG, at + 2, 2, 0x81);
    assert.equal(bench.get(opened.fd, CONFIG, at + 2, 2) & 1, 0);
  });

  it("without remapping has one vector, and says so", () => {
    const iommu = { kind: "intel", interruptRemapping: false };
    const bench = new VfioBench({ devices: [{ ...ENGINE, msi: 4 }], iommu });
    bench.system.allowUnsafeInterrupts = true;
    const opened = open("engine", bench);
    const { set, eventFd } = opened;
    busMaster(opened);
    const [a, b] = [eventFd(), eventFd()];
    assert.equal(set(TRIGGER | EVENTFD, MSI, 0, 2, a.fd, b.fd), 1);
    assert.equal(set(TRIGGER | EVENTFD, MSI, 0, 1, a.fd), 0);
    raise(opened, 0);
    assert.equal(a.event.count, 1);
  });
});

describe("errors and requests", () => {
  it("are eventfds of their own", () => {
    const { bench, set, eventFd } = open();
    const r = eventFd();
    failed(set(TRIGGER | NONE, REQ, 0, 1), "EINVAL");
    failed(set(TRIGGER | EVENTFD, REQ, 0, 0), "EINVAL");
    failed(set(MASK | NONE, REQ, 0, 1), "ENOTTY");
    assert.equal(set(TRIGGER | EVENTFD, REQ, 0, 1, r.fd), 0);
    bench.files.requestRelease(bench.bdf("engine"));
    assert.equal(r.event.count, 1);
    assert.equal(set(TRIGGER | NONE, REQ, 0, 1), 0);
    assert.equal(set(TRIGGER | BOOL, REQ, 0, 1, 1), 0);
    assert.equal(r.event.count, 3);
    assert.equal(set(TRIGGER | EVENTFD, REQ, 0, 1, -1), 0);
    assert.equal(r.event.kept, 0);
    const again = eventFd();
    assert.equal(set(TRIGGER | EVENTFD, REQ, 0, 1, again.fd), 0);
    assert.equal(set(TRIGGER | NONE, REQ, 0, 0), 0);
    assert.equal(again.event.kept, 0);
  });
});

describe("the pin", () => {
  function withPin(): Opened & { up(level: boolean): void } {
    const bench = new VfioBench({ devices: [STUB] });
    const bdf = bench.bdf("stub");
    bench.system.machine.registers(bdf)?.poke(0x3d, 1, 1);
    const opened = open("stub", bench);
    const up = (level: boolean) => bench.files.table.find(bdf)?.interrupts.pinChanged(level);
    return { ...opened, up };
  }

  it("is masked by its signal until the user unmasks it", () => {
    const { set, eventFd, up } = withPin();
    const a = eventFd();
    failed(set(MASK | NONE, INTX, 0, 1), "EINVAL");
    failed(set(TRIGGER | NONE, INTX, 0, 0), "EINVAL");
    assert.equal(set(TRIGGER | EVENTFD, INTX, 0, 1, a.fd), 0);
    up(true);
    up(true);
    assert.equal(a.event.count, 1);
    assert.equal(set(UNMASK | NONE, INTX, 0, 1), 0);
    assert.equal(a.event.count, 2, "the level is still up");
    up(false);
    assert.equal(set(UNMASK | BOOL, INTX, 0, 1, 1), 0);
    assert.equal(a.event.count, 2);
    assert.equal(set(MASK | NONE, INTX, 0, 1), 0);
    up(true);
    assert.equal(a.event.count, 2);
    const unmask = eventFd();
    failed(set(MASK | EVENTFD, INTX, 0, 1, unmask.fd), "ENOTTY");
    assert.equal(set(UNMASK | EVENTFD, INTX, 0, 1, unmask.fd), 0);
    unmask.event.signalFromOutside();
    assert.equal(a.event.count, 3);
    assert.equal(set(TRIGGER | NONE, INTX, 0, 1), 0);
    assert.equal(a.event.count, 4);
    assert.equal(set(TRIGGER | NONE, INTX, 0, 0), 0);
    assert.deepEqual([a.event.kept, unmask.event.kept, unmask.event.listeners], [0, 0, 0]);
  });

  it("of an engine is up from the end of a command until Done is cleared", () => {
    const bench = new VfioBench({ devices: [{ ...ENGINE, pin: "A" }] });
    const opened = open("engine", bench);
    const { fd, set, eventFd } = opened;
    const a = eventFd();
    assert.equal(bench.get(fd, CONFIG, 0x3d, 1), 1);
    assert.equal(set(TRIGGER | EVENTFD, INTX, 0, 1, a.fd), 0);
    raise(opened, 0);
    assert.equal(a.event.count, 1);
    assert.equal(bench.get(fd, CONFIG, 6, 2) & 8, 8);
    assert.equal(set(UNMASK | NONE, INTX, 0, 1), 0);
    assert.equal(a.event.count, 2);
    bench.set(fd, 0, REGISTERS + 0x0c, 4, 2);
    assert.equal(bench.get(fd, CONFIG, 6, 2) & 8, 0);
    assert.equal(set(UNMASK | NONE, INTX, 0, 1), 0);
    assert.equal(a.event.count, 2);
  });

  it("is silent while INTx Disable is on", () => {
    const { bench, fd, set, eventFd, up } = withPin();
    const a = eventFd();
    bench.set(fd, CONFIG, 4, 2, 0x402);
    assert.equal(set(TRIGGER | EVENTFD, INTX, 0, 1, a.fd), 0);
    up(true);
    assert.equal(set(UNMASK | NONE, INTX, 0, 1), 0);
    assert.equal(a.event.count, 0);
    bench.set(fd, CONFIG, 4, 2, 0x002);
    assert.equal(a.event.count, 1);
  });

  it("excludes messages, and is excluded by them", () => {
    const bench = new VfioBench({ devices: [ENGINE] });
    bench.system.machine.registers(bench.bdf("engine"))?.poke(0x3d, 1, 1);
    const { set, eventFd } = open("engine", bench);
    const a = eventFd();
    assert.equal(set(TRIGGER | EVENTFD, INTX, 0, 1, a.fd), 0);
    failed(set(TRIGGER | EVENTFD, MSIX, 0, 1, a.fd), "EINVAL");
    assert.equal(set(TRIGGER | NONE, INTX, 0, 0), 0);
    assert.equal(set(TRIGGER | EVENTFD, MSIX, 0, 1, a.fd), 0);
    failed(set(TRIGGER | EVENTFD, INTX, 0, 1, a.fd), "EINVAL");
  });
});
