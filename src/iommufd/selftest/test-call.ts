/** What an operation of the test command works with. */
import { UapiError } from "../../abi/index.js";
import { MockPagingDomain } from "../../driver/mock/index.js";
import type { Call, UserMemory } from "../../files/index.js";
import type { HwptPaging } from "../hw-pagetable.js";
import type { Iommufd } from "../iommufd.js";
import { PAGE_SIZE } from "../limits.js";
import type { SelftestSystem } from "./selftest-system.js";

/** The context of the file that the call is made on. */
export interface TestContext {
  readonly iommufd: Iommufd;
  /** Keeps it although the file may be closed. @returns lets it go. */
  hold(): () => void;
}

/** The struct of the call at hand. */
export interface TestArgument {
  /** The whole struct, zero beyond what the caller gave. */
  readonly view: DataView;
  /** In the caller's memory. */
  readonly address: bigint;
  /** Copies the struct back, as far as the caller gave it. @throws UapiError EFAULT. */
  reply(memory: UserMemory): void;
}

/** One call of the test command. */
export interface TestCall {
  readonly system: SelftestSystem;
  readonly context: TestContext;
  readonly call: Call;
  readonly argument: TestArgument;
  /** The struct's `id`. */
  readonly id: number;
}

/** An operation. @returns the result of the system call. */
export type TestOperation = (test: TestCall) => number;

/** @throws UapiError ENOENT, EINVAL when the table is not the mock's. */
export function mockTable(test: TestCall): { hwpt: HwptPaging; domain: MockPagingDomain } {
  const { objects } = test.context.iommufd.state;
  const hwpt = objects.get(test.id, "hwpt-paging") as HwptPaging;
  const { domain } = hwpt;
  if (domain instanceof MockPagingDomain) return { hwpt, domain };
  throw new UapiError("EINVAL", "the page table is not one of the mock driver");
}

/** The frame behind an address of the caller. @throws UapiError EFAULT. */
export function frameBehind(call: Call, address: bigint): number {
  const { memory } = call.process;
  if (memory.frameOf === undefined) throw cannotTell();
  return memory.frameOf(pageNumber(address));
}

/** Pins of the page behind an address; undefined when they are not counted. */
export function pinsBehind(call: Call, address: bigint): number | undefined {
  const { memory } = call.process;
  if (memory.pinsOf === undefined) throw cannotTell();
  return memory.pinsOf(pageNumber(address));
}

const pageNumber = (address: bigint): number => Number(address / BigInt(PAGE_SIZE));

function cannotTell(): UapiError {
  return new UapiError("EOPNOTSUPP", "nobody can tell what is behind memory of this program");
}
