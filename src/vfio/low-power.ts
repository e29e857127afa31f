/**
 * VFIO_DEVICE_FEATURE_LOW_POWER_*: the user lets the device sleep. Linux vfio_pci_core.c,
 * vfio_pci_runtime_pm_entry().
 *
 * While it sleeps its BARs do not answer. It wakes when the user says so or, when an eventfd was
 * given for that, with the next access.
 */
import { UapiError } from "../abi/index.js";
import type { EventFd } from "../files/index.js";

/** See the head of the file. */
export class LowPower {
  readonly #changed: () => void;
  #isEntered = false;
  #wakeUp: EventFd | undefined;

  /** @param changed called when it falls asleep or wakes. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get isEntered(): boolean {
    return this.#isEntered;
  }

  /** @throws UapiError EINVAL it sleeps already. */
  enter(wakeUp?: EventFd): void {
    if (this.#isEntered) {
      throw new UapiError("EINVAL", "the device is in low power already", {
        cite: "Linux vfio_pci_runtime_pm_entry()",
      });
    }
    this.#isEntered = true;
    this.#wakeUp = wakeUp?.keep();
    this.#changed();
  }

  /** Awake, whether it slept or not. */
  exit(): void {
    if (!this.#isEntered) return;
    this.close();
    this.#changed();
  }

  /** The device is used: wakes it when the user wants to be told. */
  touch(): void {
    if (this.#wakeUp === undefined) return;
    this.#wakeUp.signal();
    this.exit();
  }

  close(): void {
    this.#isEntered = false;
    this.#wakeUp?.drop();
    this.#wakeUp = undefined;
  }
}
