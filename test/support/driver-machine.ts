/** A small host with one VT-d unit, the driver on it, and a way to ask what a request meets. */
import { analysedHost, type DriverOptions, VtdDriver } from "../../src/driver/index.js";
import {
  type DeviceTlbInvalidation,
  DmaAccess,
  DmaAddressType,
  DmaAnswer,
  DmaRequest,
  DmaStatus,
  type PageGroupResponse,
  VtdUnit,
  type VtdUnitOptions,
} from "../../src/iommu/index.js";
import { analyse } from "../../src/isolation/index.js";
import { addressHigh, addressLow, frameOf, PhysicalMemory } from "../../src/memory/index.js";
import { ConfigRegisters } from "../../src/pcie/index.js";
import { type Bdf, ridOf } from "../../src/units/index.js";
import type { TestHost } from "./topologies.js";

export interface Ask {
  readonly pasid?: number;
  readonly write?: boolean;
  readonly type?: "untranslated" | "translation" | "translated";
  readonly rid?: number;
  readonly noSnoop?: boolean;
}

export class DriverMachine {
  readonly memory = new PhysicalMemory();
  readonly unit: VtdUnit;
  readonly driver: VtdDriver;
  readonly host: TestHost;
  readonly registers = new Map<Bdf, ConfigRegisters>();
  readonly invalidated: DeviceTlbInvalidation[] = [];
  readonly answers: PageGroupResponse[] = [];
  readonly answer = new DmaAnswer();
  /** What devices say to invalidations: false = no answer. */
  deviceAnswers = true;

  constructor(host: TestHost, hardware: VtdUnitOptions = {}, options: DriverOptions = {}) {
    this.host = host;
    this.unit = new VtdUnit(
      this.memory,
      {
        invalidateDeviceTlb: (message) => {
          this.invalidated.push(message);
          return this.deviceAnswers;
        },
        answerPageGroup: (response) => this.answers.push(response),
        sendInterrupt: () => {},
      },
      hardware,
    );
    for (const fn of host.fabric.functions) this.registers.set(fn.bdf, ConfigRegisters.of(fn));
    const cap = this.unit.readRegister64(0x08);
    const ecap = this.unit.readRegister64(0x10);
    const facts = {
      architecture: "x86" as const,
      iommuInUse: true,
      iommus: [{ kind: "vt-d" as const, includeAll: true, cap, ecap }],
    };
    const analysis = analyse(host.fabric, facts);
    const parts = analysedHost({
      analysis: () => analysis,
      memory: this.memory,
      units: [this.unit],
      unitOf: () => this.unit,
      configRead: (device, offset, length) => this.registers.get(device)?.read(offset, length) ?? 0,
      configWrite: (device, offset, length, value) => {
        this.registers.get(device)?.write(offset, length, value);
      },
    });
    this.driver = new VtdDriver(parts, options);
  }

  fn(address: string): Bdf {
    return this.host.fn(address).bdf;
  }

  /** The frame that a request of the device reaches, or the name of the fault. */
  ask(device: Bdf, iova: number, how: Ask = {}): number | string {
    const request = new DmaRequest();
    request.requester = how.rid ?? ridOf(device);
    request.access = how.write === true ? DmaAccess.write : DmaAccess.read;
    const types = {
      untranslated: DmaAddressType.untranslated,
      translation: DmaAddressType.translationRequest,
      translated: DmaAddressType.translated,
    };
    request.addressType = types[how.type ?? "untranslated"];
    request.hasPasid = how.pasid !== undefined;
    request.pasid = how.pasid ?? 0;
    request.noSnoop = how.noSnoop === true;
    request.lo = addressLow(iova, 0);
    request.hi = addressHigh(iova);
    this.unit.translate(request, this.answer);
    const { status, lo, hi } = this.answer;
    if (status === DmaStatus.fault) return this.unit.faultName(this.answer.reason);
    if (status === DmaStatus.completed && !this.answer.readable) return "not-present";
    return frameOf(lo, hi);
  }
}
