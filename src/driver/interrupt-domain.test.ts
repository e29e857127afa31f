/** Interrupts are given out once, recognised by what arrives, and given back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DeliveredInterrupt } from "../machine/index.js";
import { makeBdf, makeRid } from "../units/index.js";
import { InterruptDomain, type InterruptSink, isInterruptShortage } from "./index.js";

const DEVICE = makeBdf(0, 3, 0, 0);

function domainOf(options: { onStray?: (interrupt: DeliveredInterrupt) => void } = {}) {
  const sink: InterruptSink = { onInterrupt: options.onStray, onPin: undefined };
  const domain = new InterruptDomain(sink, {
    interruptTableOf: () => undefined,
    requesterIdsOf: () => [makeRid(0x300)],
  });
  const arrive = (destination: number, vector: number, from: typeof DEVICE | null = DEVICE) => {
    const interrupt = {
      vector,
      destination,
      destinationMode: "physical",
      deliveryMode: 0,
      trigger: "edge",
      index: undefined,
    } as const;
    sink.onInterrupt?.({ from: from ?? undefined, remapped: false, interrupt, data: vector });
  };
  return { sink, domain, arrive };
}

/** Processor and vector that a message in compatibility format names (VT-d 5.0 § 5.1.2.1). */
function targetOf({ address, data }: { address: bigint; data: number }): [number, number] {
  return [Number((address >> 12n) & 0xffn), data & 0xff];
}

test("each interrupt has a target of its own, and goes to whom it was given", () => {
  const strays: number[] = [];
  const { domain, arrive } = domainOf({ onStray: ({ data }) => strays.push(data) });
  const seen: string[] = [];
  const given = ["a", "b"].map((name) => domain.allocate(DEVICE, 1, () => seen.push(name)));
  const targets = given.map(({ message }) => targetOf(message));
  assert.notDeepEqual(targets[0], targets[1]);
  for (const target of targets) arrive(...target);
  assert.deepEqual(seen, ["a", "b"]);
  arrive(200, 0x31);
  const [destination, vector] = targets[0] as [number, number];
  arrive(destination, vector, null);
  assert.deepEqual(strays, [0x31, vector], "nobody's, and one that no device sent");
  given[0]?.release();
  arrive(destination, vector);
  assert.equal(seen.length, 2);
  assert.equal(domain.used, 1);
});

test("a run of vectors follows each other on one processor", () => {
  const { domain, arrive } = domainOf();
  domain.allocate(DEVICE, 1, () => {});
  const seen: number[] = [];
  const block = domain.allocate(DEVICE, 4, (vector) => seen.push(vector));
  const [destination, first] = targetOf(block.message);
  for (const n of [3, 0, 2]) arrive(destination, first + n);
  assert.deepEqual(seen, [3, 0, 2]);
});

test("when none is left, nothing is given", () => {
  const { domain } = domainOf();
  let count = 0;
  assert.throws(
    () => {
      for (; ; count++) domain.allocate(DEVICE, 32, () => {});
    },
    (error: unknown) => isInterruptShortage(error),
  );
  assert.equal(domain.used, count * 32);
  assert.equal(count, 255 * 5);
});

test("the level of a pin is told at once, and until nobody watches", () => {
  const { sink, domain } = domainOf();
  sink.onPin?.(DEVICE, true);
  const seen: boolean[] = [];
  const stop = domain.watchPin(DEVICE, (up) => seen.push(up));
  sink.onPin?.(DEVICE, false);
  sink.onPin?.(DEVICE, true);
  stop();
  sink.onPin?.(DEVICE, false);
  assert.deepEqual(seen, [true, false, true]);
});
