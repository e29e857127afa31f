// Devices with shared work queues: the processor puts one PASID into a command, whichever device
// the command goes to. So a user's PASID must have one number on all of them.
//
// Run after a build:   node examples/drivers/shared-work-queue.mjs
import { MediatedParent, PasidPool, SharedPasids } from "ioasis/driver";
import { makePasid } from "ioasis/units";
import { attempt, say, start } from "./host.mjs";

const { world, user, bdf, space, send } = await start("t3");
const declaration = {
  name: "queue",
  routing: "rid+pasid+shared-queue",
  pasids: 16,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
};
// Below 1000 each parent chooses by itself; 1000 to 1001 mean the same on every device.
const shared = { owner: user, pasids: new SharedPasids(new PasidPool(1000, 1002)) };
const [a, b] = ["a", "b"].map(bdf);
const [one, two] = [a, b].map((parent) =>
  new MediatedParent(world.driver, parent, declaration, 1000).createSlice("queue", { shared }),
);

const red = space("red", 0x1000n);
const seven = makePasid(7);
for (const dma of [one, two]) {
  const device = user.bind({ dma });
  user.attach({ device, ptId: red, pasid: seven });
  say(`${dma.label}: PASID 7 of the user is in hardware`, dma.slotOf(seven).pasid);
}
const { pasid } = one.slotOf(seven);
say(`Device a with PASID ${pasid}`, send(a, 0x1000n, pasid));
say(`Device b with PASID ${pasid}`, send(b, 0x1000n, pasid));
say("Device a with PASID 7 itself, which stands for nothing", send(a, 0x1000n, 7));

const numbers = [8, 9].map((n) => attempt(() => one.slotOf(makePasid(n))));
say("PASID 8 and PASID 9 of the user, with one number left", numbers.join("; "));
