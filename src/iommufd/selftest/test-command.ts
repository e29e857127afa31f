/**
 * IOMMU_TEST_CMD: one call with many operations, only on platforms for the kernel's own tests.
 *
 * Linux 6.12 knows the first fifteen.
 */
import { IOMMU_TEST_OP_TRIGGER_IOPF, SELFTEST_IOCTLS, UapiError } from "../../abi/index.js";
import type { IoctlRow } from "../ioctl-row.js";
import {
  accessPages,
  accessReplaceIoas,
  accessRw,
  createAccess,
  destroyAccessPages,
} from "./accesses.js";
import { dmabufGet, dmabufRevoke } from "./buffers.js";
import {
  addReserved,
  checkDeviceCache,
  checkIotlb,
  checkMap,
  checkRefs,
  markDirty,
  setMemoryLimit,
  triggerPageFault,
  triggerVirtualEvent,
} from "./checks.js";
import {
  mockDomain,
  mockDomainReplace,
  pasidAttach,
  pasidCheckHwpt,
  pasidDetach,
  pasidReplace,
} from "./mock-devices.js";
import type { SelftestSystem } from "./selftest-system.js";
import type { TestOperation } from "./test-call.js";

/** By number, IOMMU_TEST_OP_*; there is no operation 0. */
const OPERATIONS: readonly (TestOperation | undefined)[] = [
  undefined,
  addReserved,
  mockDomain,
  checkMap,
  checkRefs,
  createAccess,
  destroyAccessPages,
  accessPages,
  accessRw,
  setMemoryLimit,
  mockDomainReplace,
  accessReplaceIoas,
  mockDomain,
  markDirty,
  checkIotlb,
  triggerPageFault,
  checkDeviceCache,
  triggerVirtualEvent,
  pasidAttach,
  pasidReplace,
  pasidDetach,
  pasidCheckHwpt,
  dmabufGet,
  dmabufRevoke,
];

const { command, size, minSize } = SELFTEST_IOCTLS.IOMMU_TEST_CMD;

/**
 * The row of the call, for a table of calls: it copies back itself.
 * @param system the machine that the contexts of the table are of.
 */
export function testCommandRow(system: SelftestSystem): IoctlRow {
  const last = system.kernel === "6.12" ? IOMMU_TEST_OP_TRIGGER_IOPF : OPERATIONS.length - 1;
  return {
    name: "IOMMU_TEST_CMD",
    command,
    size,
    minSize,
    replies: false,
    /** @throws UapiError EOPNOTSUPP for an unknown operation, or what the operation throws. */
    run: (context, call, argument) => {
      const op = argument.view.getUint32(4, true);
      const operation = op <= last ? OPERATIONS[op] : undefined;
      if (operation === undefined) {
        throw new UapiError("EOPNOTSUPP", `the test command has no operation ${op}`, {
          cite: "Linux iommufd_test()",
        });
      }
      const id = argument.view.getUint32(8, true);
      return operation({ system, context, call, argument, id });
    },
  };
}
