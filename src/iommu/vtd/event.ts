/**
 * An interrupt of the unit itself: control, data and address registers (VT-d 5.0 § 7.2, § 11.4.10).
 *
 * While masked, an event that occurs stays pending; unmasking sends it.
 */
import type { IommuPorts } from "../iommu-ports.js";

const PENDING = 1 << 30;
const MASK = 1 << 31;

export class UnitEvent {
  readonly #ports: IommuPorts;
  data = 0;
  address = 0;
  upperAddress = 0;
  #control = MASK;

  constructor(ports: IommuPorts) {
    this.#ports = ports;
  }

  get control(): number {
    return this.#control;
  }

  /** Software writes the control register: only the mask can be written. */
  set control(value: number) {
    const pending = this.#control & PENDING;
    this.#control = (value & MASK) | pending;
    if (pending !== 0 && (value & MASK) === 0) this.#send();
  }

  /** The event's condition has come up. */
  raise(): void {
    if ((this.#control & MASK) !== 0) this.#control |= PENDING;
    else this.#send();
  }

  /** Software has served the condition: nothing is pending any more. */
  settle(): void {
    this.#control &= ~PENDING;
  }

  #send(): void {
    this.#control &= ~PENDING;
    this.#ports.sendInterrupt(this.address >>> 0, this.upperAddress >>> 0, this.data >>> 0);
  }
}
