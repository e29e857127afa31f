/** Ids: lowest free first, two phases, limits, tombstones. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refused } from "../../test/support/iommufd.js";
import { Random } from "../../test/support/random.js";
import { FaultQueue } from "./fault.js";
import { ObjectTable } from "./object-table.js";

const ALWAYS = { permit: () => true };

function made(table: ObjectTable): FaultQueue {
  const queue = table.create((id) => new FaultQueue(id));
  queue.closeFile();
  return queue;
}

describe("the object table", () => {
  it("hands out the lowest free id", () => {
    const random = new Random(5);
    const table = new ObjectTable(ALWAYS);
    const live = new Set<number>();
    for (let step = 0; step < 3000; step++) {
      const gone = [...live][random.below(live.size)];
      if (random.below(5) < 2 && gone !== undefined) {
        table.destroy(gone);
        live.delete(gone);
        continue;
      }
      let lowest = 1;
      while (live.has(lowest)) lowest++;
      assert.equal(made(table).id, lowest);
      live.add(lowest);
    }
    table.clear();
    assert.equal(table.size, 0);
  });

  it("shows nothing of an object that is half-built, and gives its id back", () => {
    const table = new ObjectTable(ALWAYS);
    const id = table.reserve();
    assert.equal(table.find(id), undefined);
    refused(() => table.destroy(id), "ENOENT");
    table.abort(id);
    const fails = (): FaultQueue => {
      throw new RangeError("half-way");
    };
    assert.throws(() => table.create(fails), RangeError);
    assert.equal(table.size, 0);
    assert.equal(made(table).id, id);
  });

  it("refuses when ids or memory run out, and by kind", () => {
    const table = new ObjectTable(ALWAYS, 2);
    const one = made(table);
    made(table);
    refused(() => table.reserve(), "EBUSY");
    table.destroy(one.id);
    assert.equal(table.reserve(), one.id);
    refused(() => table.get(2, "ioas"), "ENOENT");
    refused(() => table.get(0, "fault"), "ENOENT");
    const poor = new ObjectTable({ permit: () => false });
    refused(() => poor.reserve(), "ENOMEM");
  });

  it("never uses the id of a tombstone again", () => {
    const table = new ObjectTable(ALWAYS);
    const first = made(table);
    table.entomb(first);
    refused(() => table.get(first.id, "fault"), "ENOENT");
    refused(() => table.destroy(first.id), "ENOENT");
    assert.equal(made(table).id, first.id + 1);
  });
});
