/**
 * A group as VFIO shows it: the file /dev/vfio/N, with one opener. Linux group.c.
 *
 * It is put in a container, or in a context that then stands for one; devices are opened through
 * it. A device that is open keeps the group open. While the group is open no device of it can be
 * bound by its own file, and while one is bound so the group cannot be opened.
 */
import { UapiError } from "../abi/index.js";
import type { GroupMembers } from "../driver/index.js";
import type { Iommufd, IommufdDevice } from "../iommufd/index.js";
import type { Bdf } from "../units/index.js";
import { VfioContainer } from "./container.js";
import { VfioGroupDevice } from "./group-device.js";
import type { VfioSystem } from "./ports.js";

/** VFIO_GROUP_GET_STATUS. */
export interface VfioGroupStatus {
  /** Nobody else does DMA in the group. */
  readonly viable: boolean;
  readonly containerSet: boolean;
}

interface OpenDevice {
  readonly object: IommufdDevice;
  readonly iommufd: Iommufd;
  readonly files: Set<VfioGroupDevice>;
}

const CITE_OPEN = "Linux vfio_group_fops_open()";
const CITE_SET = { cite: "Linux vfio_group_ioctl_set_container()" };
const CITE_UNSET = { cite: "Linux vfio_group_ioctl_unset_container()" };

/** See the head of the file. */
export class VfioGroup {
  readonly #system: VfioSystem;
  readonly #group: GroupMembers;
  #isFileOpen = false;
  #container: VfioContainer | Iommufd | undefined;
  #onLeave: (() => void) | undefined;
  readonly #devices = new Map<Bdf, OpenDevice>();
  /** Devices that are bound by their own files. */
  readonly #bound = new Set<Bdf>();

  constructor(system: VfioSystem, group: GroupMembers) {
    this.#system = system;
    this.#group = group;
  }

  get id(): number {
    return this.#group.id;
  }

  get members(): readonly Bdf[] {
    return this.#group.members;
  }

  /** Its file is open, or a device that was opened through it. */
  get isOpen(): boolean {
    return this.#isFileOpen || this.#devices.size > 0;
  }

  /** Nobody uses it, nor a device of it. */
  get isIdle(): boolean {
    return !this.isOpen && this.#bound.size === 0;
  }

  /** What it was put in. */
  get container(): VfioContainer | Iommufd | undefined {
    return this.#container;
  }

  /**
   * Opens the file.
   * @throws UapiError ENOENT (no VFIO driver has a device of it: there is no file), EBUSY (a device
   * is bound by its own file, or the group is open).
   */
  open(): void {
    if (!this.members.some((bdf) => this.#system.vfioDevice(bdf) !== undefined)) {
      throw new UapiError("ENOENT", "no VFIO driver has a device of the group", {
        evidence: this.members.map((at) => ({ kind: "no-vfio-driver", at })),
        cite: "Linux vfio_group_find_or_alloc()",
      });
    }
    if (this.#bound.size > 0) {
      throw new UapiError("EBUSY", "a device of the group is bound by its own file", {
        evidence: [...this.#bound].map((at) => ({ kind: "bound-by-device-file", at })),
        cite: CITE_OPEN,
      });
    }
    if (this.isOpen) throw new UapiError("EBUSY", "the group is open already", { cite: CITE_OPEN });
    this.#isFileOpen = true;
  }

  /** Closes the file; the group is let go with the last device. Never fails. */
  close(): void {
    this.#isFileOpen = false;
    this.#letGo();
  }

  /** VFIO_GROUP_GET_STATUS. @throws UapiError EBADF when it is not open. */
  status(): VfioGroupStatus {
    this.#needFile();
    if (this.#container !== undefined) return { viable: true, containerSet: true };
    const { ownership } = this.#system;
    const viable = this.members.every(
      (bdf) => ownership.ownerOf(bdf) === undefined && ownership.kernelUsersOf(bdf).size === 0,
    );
    return { viable, containerSet: false };
  }

  /**
   * VFIO_GROUP_SET_CONTAINER. A container owns the group from now on; a context gets a
   * compatibility IOAS when it has none, and owns devices as they are opened.
   * @param onLeave called when the group is in it no more.
   * @throws UapiError EINVAL (set already), EPERM, EBUSY, or what attaching throws.
   */
  setContainer(container: VfioContainer | Iommufd, onLeave?: () => void): void {
    this.#needFile();
    if (this.#container !== undefined) {
      throw new UapiError("EINVAL", "the group is in a container already", CITE_SET);
    }
    if (container instanceof VfioContainer) container.addGroup(this.#group);
    else container.vfio.ensureIoas();
    this.#container = container;
    this.#onLeave = onLeave;
  }

  /** VFIO_GROUP_UNSET_CONTAINER. @throws UapiError EINVAL (in none), EBUSY (a device is open). */
  unsetContainer(): void {
    this.#needFile();
    if (this.#container === undefined) {
      throw new UapiError("EINVAL", "the group is in no container", CITE_UNSET);
    }
    if (this.#devices.size > 0) {
      throw new UapiError("EBUSY", "a device of the group is open", {
        evidence: [...this.#devices.keys()].map((at) => ({ kind: "device-open", at })),
        ...CITE_UNSET,
      });
    }
    this.#leave();
  }

  /**
   * VFIO_GROUP_GET_DEVICE_FD. It may be opened several times.
   * @throws UapiError ENODEV, EINVAL (no container, or one without a type), or what binding and
   * attaching throw.
   */
  openDevice(bdf: Bdf): VfioGroupDevice {
    this.#needFile();
    const dma = this.members.includes(bdf) ? this.#system.vfioDevice(bdf) : undefined;
    if (dma === undefined) {
      throw new UapiError("ENODEV", "no VFIO driver has a device of this name in the group", {
        evidence: [{ kind: "no-vfio-driver", at: bdf }],
        cite: "Linux vfio_device_get_from_name()",
      });
    }
    const open = this.#devices.get(bdf) ?? this.#firstOpen(bdf);
    const file = new VfioGroupDevice(bdf, open.iommufd, open.object, (closed) =>
      this.#closed(closed),
    );
    open.files.add(file);
    this.#devices.set(bdf, open);
    return file;
  }

  /**
   * Binding a device by its own file: `bind` runs when the group is not in the way, and counts
   * until {@link unbound}.
   * @throws UapiError EBUSY when the group is open, or what `bind` throws.
   */
  bindByFile<T>(bdf: Bdf, bind: () => T): T {
    this.checkNotOpen(bdf);
    const made = bind();
    this.#bound.add(bdf);
    return made;
  }

  /** @throws UapiError EBUSY when the group is open: its devices cannot be bound by themselves. */
  checkNotOpen(bdf: Bdf): void {
    if (!this.isOpen) return;
    throw new UapiError("EBUSY", "the device's group is open", {
      evidence: [{ kind: "group-open", at: bdf, with: this.members }],
      cite: "Linux vfio_df_ioctl_bind_iommufd(): vfio_df_block_group()",
    });
  }

  /** The file that had bound the device was closed. */
  unbound(bdf: Bdf): void {
    this.#bound.delete(bdf);
  }

  /** The device is gone from the machine: its files are closed. */
  forgetDevice(bdf: Bdf): void {
    for (const file of [...(this.#devices.get(bdf)?.files ?? [])]) file.close();
    this.#bound.delete(bdf);
    if (this.#container instanceof VfioContainer) this.#container.forgetDevice(bdf);
  }

  #firstOpen(bdf: Bdf): OpenDevice {
    const container = this.#container;
    if (container === undefined) {
      throw new UapiError("EINVAL", "the group is in no container", {
        cite: "Linux vfio_group_ioctl_get_device_fd()",
      });
    }
    const files = new Set<VfioGroupDevice>();
    if (container instanceof VfioContainer) {
      return { object: container.device(bdf), iommufd: container.iommufd, files };
    }
    const dma = this.#system.vfioDevice(bdf);
    if (dma === undefined) throw new RangeError("the device was looked up before");
    const object = container.bind({ dma });
    try {
      container.attach({ device: object, ptId: container.vfio.ioasId });
    } catch (error) {
      container.unbind(object);
      throw error;
    }
    return { object, iommufd: container, files };
  }

  #closed(file: VfioGroupDevice): void {
    const open = this.#devices.get(file.bdf);
    if (open?.files.delete(file) !== true || open.files.size > 0) return;
    this.#devices.delete(file.bdf);
    // In a container the device stays attached: it was before it was opened.
    if (!(this.#container instanceof VfioContainer)) open.iommufd.unbind(open.object);
    this.#letGo();
  }

  #letGo(): void {
    if (!this.isOpen) this.#leave();
  }

  #leave(): void {
    const container = this.#container;
    this.#container = undefined;
    if (container instanceof VfioContainer) container.removeGroup(this.#group);
    this.#onLeave?.();
    this.#onLeave = undefined;
  }

  #needFile(): void {
    if (this.#isFileOpen) return;
    throw new UapiError("EBADF", "the group is not open", { cite: "Linux fdget()" });
  }
}
