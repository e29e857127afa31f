/** What a descriptor that a program passed refers to. */
import type { PassedFile } from "../../files/index.js";
import { closeDescriptor, identityOf, isEventFd } from "../ffi/descriptors.io.js";
import type { SharedFiles } from "../memory/shared-files.io.js";
import type { OpenFiles } from "./open-files.io.js";
import { PassedEvent, type Watchers } from "./passed-event.io.js";

export class PassedFiles {
  readonly #openFiles: OpenFiles;
  readonly #sharedFiles: SharedFiles;
  readonly #watchers: Watchers;

  constructor(openFiles: OpenFiles, sharedFiles: SharedFiles, watchers: Watchers) {
    this.#openFiles = openFiles;
    this.#sharedFiles = sharedFiles;
    this.#watchers = watchers;
  }

  /** Takes the descriptor over. What is not `own` is held once by the caller. */
  recognise(fd: number): PassedFile {
    const identity = identityOf(fd);
    if (identity.isSocket) {
      const held = this.#openFiles.byInode(identity.inode);
      if (held !== undefined) {
        closeDescriptor(fd);
        return { kind: "own", file: held.file };
      }
    }
    if (!identity.isFile && isEventFd(fd)) return new PassedEvent(fd, this.#watchers);
    return this.#sharedFiles.open(fd, identity);
  }
}
