// A device without DMA of its own: its driver reads and writes the user's address space, and pins
// pages that it needs for longer. No IOMMU has an entry for it.
//
// Run after a build:   node examples/drivers/software-mediated.mjs
import { SoftwareDriver } from "ioasis/driver";
import { attempt, say, start } from "./host.mjs";

const { world, user, space } = await start("t1");
const [dma] = new SoftwareDriver("example-soft", "soft0").devices;
const ioasId = space("red", 0x1000n);
const frames = world.driver.tableFrames;

const device = user.bind({ dma });
// Pinned pages must be let go before they are unmapped: the driver is asked to.
device.onUnmap = (from, iova, length) => {
  say(`asked to let go of 0x${iova.toString(16)}, ${length} bytes`, `${from.pinCount} pin held`);
  from.unpinRange(iova, length);
};
user.attach({ device, ptId: ioasId });
say("Frames of tables that attaching took", world.driver.tableFrames - frames);

const { access } = device;
const hello = new TextEncoder().encode("hello");
access.readWrite(0x1100n, hello, { write: true });
const red = world.process.find("red").backing.bytes;
say("Bytes in the user's memory", new TextDecoder().decode(red.subarray(0x100, 0x105)));
say(
  "Where nothing is mapped",
  attempt(() => access.readWrite(0x5000n, hello)),
);

const pin = access.pin(0x1000n, 4096n);
say("Pages pinned", pin.frames.length);
user.ioasUnmap(ioasId, 0x1000n, 4096n);
say("Pins after the unmap", access.pinCount);
user.unbind(device);
