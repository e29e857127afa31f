/** Operations that make mock devices and attach them. Linux selftest.c. */
import {
  decodeIommuTestCmdMockDomainFlags,
  decodeIommuTestCmdPasidAttach,
  encodeIommuTestCmdMockDomain,
  IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS,
  UapiError,
} from "../../abi/index.js";
import { makePasid, PASID_LIMIT, type Pasid } from "../../units/index.js";
import type { ContextState } from "../context-state.js";
import type { IommufdDevice } from "../device.js";
import type { IommufdObject } from "../object-table.js";
import type { MockHandle, SelftestSystem } from "./selftest-system.js";
import type { TestCall, TestContext, TestOperation } from "./test-call.js";

/** A mock device with its binding, as an object that the program destroys. */
export class SelftestDevice implements IommufdObject {
  readonly kind = "selftest";
  readonly id: number;
  readonly handle: MockHandle;
  readonly device: IommufdDevice;
  readonly #context: TestContext;
  readonly #system: SelftestSystem;
  users = 0;

  constructor(
    id: number,
    test: Pick<TestCall, "context" | "system">,
    handle: MockHandle,
    device: IommufdDevice,
  ) {
    this.id = id;
    this.handle = handle;
    this.device = device;
    this.#context = test.context;
    this.#system = test.system;
  }

  destroy(): void {
    unbind(this.#context, this.device);
    this.#system.removeDevice(this.handle.bdf);
  }
}

function unbind({ iommufd }: TestContext, device: IommufdDevice | undefined): void {
  if (device === undefined) return;
  // A context that closes has unbound it already.
  if (iommufd.state.objects.find(device.id) === device) iommufd.unbind(device);
}

/** MOCK_DOMAIN, MOCK_DOMAIN_FLAGS: a device, bound and attached to `id`. */
export const mockDomain: TestOperation = (test) => {
  const { context, system, argument, call } = test;
  const { view } = argument;
  const { objects } = context.iommufd.state;
  const given = decodeIommuTestCmdMockDomainFlags(view);
  const hasFlags = view.getUint32(4, true) === IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS;
  const id = objects.reserve();
  let handle: MockHandle | undefined;
  let device: IommufdDevice | undefined;
  try {
    handle = system.createDevice(hasFlags ? given.dev_flags : 0);
    device = context.iommufd.bind({ dma: handle.dma });
    const hwptId = context.iommufd.attach({ device, ptId: test.id });
    encodeIommuTestCmdMockDomain(
      { out_stdev_id: id, out_hwpt_id: hwptId, out_idev_id: device.id },
      view,
    );
    argument.reply(call);
    objects.publish(new SelftestDevice(id, test, handle, device));
    return 0;
  } catch (error) {
    unbind(context, device);
    if (handle !== undefined) system.removeDevice(handle.bdf);
    objects.abort(id);
    throw error;
  }
};

/** MOCK_DOMAIN_REPLACE. */
export const mockDomainReplace: TestOperation = (test) => {
  const { device } = deviceOf(test);
  const { view } = test.argument;
  const ptId = test.context.iommufd.replace({ device, ptId: view.getUint32(16, true) });
  view.setUint32(16, ptId, true);
  test.argument.reply(test.call);
  return 0;
};

/** PASID_ATTACH. */
export const pasidAttach: TestOperation = (test) => {
  const { device } = deviceOf(test);
  const { view } = test.argument;
  const { pasid, pt_id } = decodeIommuTestCmdPasidAttach(view);
  const { iommufd } = test.context;
  const named = pasidFor(iommufd.state, pasid, pt_id);
  view.setUint32(20, iommufd.attach({ device, ptId: pt_id, pasid: named }), true);
  try {
    test.argument.reply(test.call);
  } catch (error) {
    iommufd.detach(device, named);
    throw error;
  }
  return 0;
};

/** PASID_REPLACE. */
export const pasidReplace: TestOperation = (test) => {
  const { device } = deviceOf(test);
  const { view } = test.argument;
  const { pasid, pt_id } = decodeIommuTestCmdPasidAttach(view);
  const { iommufd } = test.context;
  const named = pasidFor(iommufd.state, pasid, pt_id);
  view.setUint32(20, iommufd.replace({ device, ptId: pt_id, pasid: named }), true);
  test.argument.reply(test.call);
  return 0;
};

/** PASID_DETACH. */
export const pasidDetach: TestOperation = (test) => {
  const { device } = deviceOf(test);
  const pasid = test.argument.view.getUint32(16, true);
  if (pasid < PASID_LIMIT) test.context.iommufd.detach(device, pasidOf(pasid));
  return 0;
};

/** PASID_CHECK_HWPT: which page table a PASID has; 0 asks for none. */
export const pasidCheckHwpt: TestOperation = (test) => {
  const { device } = deviceOf(test);
  const { pasid, pt_id: hwptId } = decodeIommuTestCmdPasidAttach(test.argument.view);
  const key = pasid < PASID_LIMIT ? pasidOf(pasid) : undefined;
  const attachment = pasid < PASID_LIMIT ? device.attachments.get(key) : undefined;
  const attached = attachment?.slot.hwpt;
  const expected = hwptId === 0 ? undefined : findTable(test, hwptId);
  if (attached === expected) return 0;
  throw new UapiError("EINVAL", "the PASID has another page table than expected");
};

function findTable({ context }: TestCall, id: number) {
  const found = context.iommufd.state.objects.find(id);
  if (found === undefined) throw new UapiError("ENOENT", "no object has this id");
  const hwpt = context.iommufd.hwpt(id);
  if (hwpt === undefined) throw new UapiError("EINVAL", "the object is no page table");
  return hwpt;
}

/** @throws UapiError ENOENT. */
function deviceOf({ context, id }: TestCall): SelftestDevice {
  return context.iommufd.state.objects.get(id, "selftest") as SelftestDevice;
}

/** PASID 0 stands for requests without one. */
const pasidOf = (pasid: number): Pasid | undefined => (pasid === 0 ? undefined : makePasid(pasid));

/** @throws UapiError ENOENT for the table first, then EINVAL for a PASID that no device has. */
function pasidFor(ctx: ContextState, pasid: number, ptId: number): Pasid | undefined {
  if (pasid < PASID_LIMIT) return pasidOf(pasid);
  if (ctx.objects.find(ptId) === undefined) throw new UapiError("ENOENT", "no object has this id");
  throw new UapiError("EINVAL", "the PASID has more than 20 bits");
}
