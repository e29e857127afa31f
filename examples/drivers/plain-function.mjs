// The driver of a plain PCI function with PASIDs: what it declares, and what follows from it.
//
// Run after a build:   node examples/drivers/plain-function.mjs
import { PlainDriver } from "ioasis/driver";
import { makePasid } from "ioasis/units";
import { attempt, say, start } from "./host.mjs";

const { world, user, bdf, space, send } = await start("t1");
const a = bdf("a");

// The driver says once what the device will emit. Nothing else decides it.
const declaration = {
  name: "example",
  routing: "rid+pasid",
  pasids: 4,
  noSnoop: false,
  ats: true,
  pri: false,
  translatedOnly: false,
};
const [dma] = new PlainDriver(world.driver, a, declaration).devices;
say("The device before anybody has bound it, address 0x1000", send(a, 0x1000n));

const device = user.bind({ dma });
const red = space("red", 0x1000n);
const blue = space("blue", 0x1000n);
user.attach({ device, ptId: red });
user.attach({ device, ptId: blue, pasid: makePasid(7) });
say("0x1000 without PASID", send(a, 0x1000n));
say("0x1000 with PASID 7", send(a, 0x1000n, 7));
say("0x1000 with PASID 8", send(a, 0x1000n, 8));

user.detach(device, makePasid(7));
say("PASID 7 after it was detached", send(a, 0x1000n, 7));
user.unbind(device);
say("Without PASID after the device was unbound", send(a, 0x1000n));

// A driver that declares no PASIDs does not get any, whatever the hardware could do.
const rid = { ...declaration, routing: "rid", pasids: 0, ats: false };
const plain = user.bind({ dma: new PlainDriver(world.driver, a, rid).devices[0] });
say(
  "PASID 7 for a driver that declares none",
  attempt(() => user.attach({ device: plain, ptId: blue, pasid: makePasid(7) })),
);
say(
  "A declaration that contradicts itself",
  attempt(() => new PlainDriver(world.driver, a, { ...rid, pri: true })),
);
