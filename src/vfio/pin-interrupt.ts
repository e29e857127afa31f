/**
 * INTx: a level that is turned into signals. Linux vfio_pci_intrs.c.
 *
 * A signal masks the pin; it is unmasked by the user, by call or through an eventfd, and signals at
 * once when the level is still up. While the user's INTx Disable bit is on it stays masked.
 */
import type { EventFd } from "../files/index.js";

/** The pin of one device while it is what interrupts come by. */
export class PinInterrupt {
  #trigger: EventFd | undefined;
  #unmask: EventFd | undefined;
  #stopListening: (() => void) | undefined;
  #isMasked: boolean;
  #isDisabled: boolean;
  #isUp: boolean;

  /** @param disabled the INTx Disable bit; @param up the level now. */
  constructor(trigger: EventFd | undefined, disabled: boolean, up: boolean) {
    this.#trigger = trigger?.keep();
    this.#isDisabled = disabled;
    this.#isMasked = disabled;
    this.#isUp = up;
    this.#fire();
  }

  setTrigger(trigger: EventFd | undefined): void {
    const old = this.#trigger;
    this.#trigger = trigger?.keep();
    old?.drop();
    this.#fire();
  }

  /** An eventfd whose signals unmask the pin; undefined for none. */
  setUnmask(eventFd: EventFd | undefined): void {
    this.#stopListening?.();
    this.#unmask?.drop();
    this.#unmask = eventFd?.keep();
    this.#stopListening = eventFd?.listen(() => this.unmask());
  }

  setLevel(up: boolean): void {
    this.#isUp = up;
    this.#fire();
  }

  /** The user's INTx Disable bit. */
  setDisabled(disabled: boolean): void {
    this.#isDisabled = disabled;
    if (disabled) this.#isMasked = true;
    else this.unmask();
  }

  mask(): void {
    this.#isMasked = true;
  }

  unmask(): void {
    if (this.#isDisabled) return;
    this.#isMasked = false;
    this.#fire();
  }

  /** Signals as if the pin had risen: for tests of the user's own. */
  inject(): void {
    if (!this.#isDisabled) this.#trigger?.signal();
  }

  close(): void {
    this.setUnmask(undefined);
    this.#trigger?.drop();
    this.#trigger = undefined;
  }

  #fire(): void {
    if (!this.#isUp || this.#isMasked || this.#trigger === undefined) return;
    this.#isMasked = true;
    this.#trigger.signal();
  }
}
