/** One call from request to answer. */
import { UapiError } from "../../abi/index.js";
import { closeDescriptor } from "../ffi/descriptors.io.js";
import { SystemError } from "../ffi/libc.io.js";
import { HeaderWord, Operation, ReplyFlag, SlotWord } from "../transport/frame.js";
import { callName } from "./call-name.io.js";
import { type Desk, describe, OPERATIONS, type Request } from "./operations.io.js";
import type { PassedFiles } from "./passed-files.io.js";
import type { Session } from "./session.io.js";
import { SlotCall } from "./slot-call.io.js";

const ENOSYS = 38;

/** A call, when its answer has left. */
export interface AnsweredCall {
  readonly session: Session;
  readonly tid: number;
  readonly name: string;
  /** Milliseconds, of `performance.now()`. */
  readonly began: number;
  readonly result: number;
  readonly error: UapiError | undefined;
}

/** Told of each call, when somebody watches. */
export interface CallListener {
  answered(call: AnsweredCall): void;
}

export class Server {
  readonly #desk: Desk;
  readonly #files: PassedFiles;
  #call: SlotCall | undefined;
  /** Undefined: nobody watches, and nothing is measured. */
  listener: CallListener | undefined;

  constructor(desk: Desk, files: PassedFiles) {
    this.#desk = desk;
    this.#files = files;
  }

  /** Serves the request of a slot, if there is one. */
  serve(session: Session, slot: number): void {
    const { channel } = session;
    if (!channel.take(slot)) return;
    const began = this.listener === undefined ? 0 : performance.now();
    if (channel.word(slot, SlotWord.DESCRIPTORS) !== 0) session.receive();
    const counter = channel.header(HeaderWord.CREDENTIALS);
    if (session.haveRightsChanged(counter)) session.state.forgetRights();
    session.state.beginCall();
    this.#call ??= new SlotCall(session, this.#files);
    const call = this.#call;
    call.begin(session, slot);
    const request: Request = { desk: this.#desk, session, slot, call };
    let error: UapiError | undefined;
    let result: number;
    channel.setWord(slot, SlotWord.REPLY, 0);
    try {
      const operation = OPERATIONS[channel.word(slot, SlotWord.OP)];
      if (operation === undefined) result = -ENOSYS;
      else result = this.#desk.kernel.injection.during(call.tid, () => operation(request));
    } catch (thrown) {
      error = refusalOf(thrown);
      result = -error.errno;
      this.#keep(request, error);
    }
    if (result >= 0) result = this.#sendNew(request, result);
    // The slot is the client's again once it is answered: what it says is read before.
    const name = this.listener === undefined ? "" : callName(request);
    this.#finish(request, result);
    this.listener?.answered({ session, tid: call.tid, name, began, result, error });
  }

  /** Keeps a refusal for who asks why. */
  #keep(request: Request, error: UapiError): void {
    const { session, slot, call } = request;
    const isIoctl = session.channel.word(slot, SlotWord.OP) === Operation.IOCTL;
    const command = isIoctl ? session.channel.word(slot, SlotWord.COMMAND) >>> 0 : 0;
    this.#desk.kernel.refusals.add(call, callName(request), error, command);
  }

  #finish({ session, slot, call }: Request, result: number): void {
    const { channel } = session;
    call.end();
    if (call.replyLength >= 0) {
      channel.setWord(slot, SlotWord.REPLY_LENGTH, call.replyLength);
      channel.setWord(
        slot,
        SlotWord.REPLY,
        channel.word(slot, SlotWord.REPLY) | ReplyFlag.ARGUMENT,
      );
    }
    channel.setWord(slot, SlotWord.RESULT, result);
    channel.reply(slot);
  }

  /** Sends the descriptor that the call gives. @returns the call's result. */
  #sendNew(request: Request, result: number): number {
    const { session, slot, call, desk } = request;
    const { channel } = session;
    if (call.newMapping !== undefined) {
      if (!session.send(slot, [call.newMapping])) return -EIO;
      channel.setWord(slot, SlotWord.REPLY, ReplyFlag.NEW);
      return result;
    }
    const { newFile } = call;
    if (newFile === undefined) return result;
    try {
      const { held, theirs } = desk.openFiles.hold(newFile.file, call.newAccess);
      const isSent = session.send(slot, [theirs]);
      closeDescriptor(theirs);
      if (!isSent) return -EIO;
      describe(session, slot, held);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      newFile.file.release();
      return -error.errno;
    }
    let flags: number = ReplyFlag.NEW;
    if (!newFile.closeOnExec) flags |= ReplyFlag.KEEP_EXEC;
    if (newFile.place !== "result") {
      flags |= ReplyFlag.NEW_AT;
      channel.setLong(slot, SlotWord.ADDRESS, newFile.place.address);
    }
    channel.setWord(slot, SlotWord.REPLY, flags);
    return result;
  }
}

const EIO = 5;

/**
 * What the host refuses is the caller's to know: its file cannot be mapped, no descriptor is left.
 * Anything else is a fault of this program, and ends it.
 */
function refusalOf(thrown: unknown): UapiError {
  if (UapiError.is(thrown)) return thrown;
  if (thrown instanceof SystemError) {
    return new UapiError("ENOMEM", `the host refuses what the call needs: ${thrown.message}`);
  }
  throw thrown;
}
