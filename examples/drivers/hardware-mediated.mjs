// A driver that cuts its device into slices: each is a device of its own to the user, with PASIDs
// of its own, and hardware tells them apart by other PASIDs, which the user never sees.
//
// Run after a build:   node examples/drivers/hardware-mediated.mjs
import { MediatedParent } from "ioasis/driver";
import { makePasid } from "ioasis/units";
import { attempt, say, start } from "./host.mjs";

const { world, user, bdf, space, send } = await start("t1");
const parent = bdf("a");
const driver = new MediatedParent(world.driver, parent, {
  name: "slicer",
  routing: "rid+pasid",
  pasids: 64,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
});

const red = space("red", 0x1000n);
const blue = space("blue", 0x1000n);
const slices = ["m1", "m2"].map((name) => driver.createSlice(name));
const devices = slices.map((dma) => user.bind({ dma }));
user.attach({ device: devices[0], ptId: red, pasid: makePasid(7) });
user.attach({ device: devices[1], ptId: blue, pasid: makePasid(7) });
user.attach({ device: devices[1], ptId: red });

// Both users' PASID is 7; the driver writes the number that stands for it into its device.
for (const slice of slices) {
  const { pasid } = slice.slotOf(makePasid(7));
  say(`${slice.label}: PASID 7, in hardware ${pasid}`, send(parent, 0x1000n, pasid));
}
const { pasid } = slices[1].slotOf(undefined);
say(`${slices[1].label}: no PASID, in hardware ${pasid}`, send(parent, 0x1000n, pasid));
say("The parent without PASID", send(parent, 0x1000n));

const spaces = devices.map(({ id }) => user.report(id).pasidSpace);
say("Both draw from one number space in hardware", spaces[0] === spaces[1]);
say(
  "The whole device, while it has slices",
  attempt(() => driver.checkWhole()),
);
say(
  "Slice m1 is removed while it is attached",
  attempt(() => driver.removeSlice(slices[0])),
);
user.unbind(devices[0]);
say(
  "After it was unbound",
  attempt(() => driver.removeSlice(slices[0])),
);
