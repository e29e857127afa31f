// biome-ignore-all lint/style/noDefaultExport: the library exports one function, CommonJS style
/** Shapes of the archive libraries, as far as they are used here. */
declare module "tar-stream" {
  import type { Readable, Writable } from "node:stream";

  export interface Header {
    readonly name: string;
    readonly size: number;
    readonly type: string;
    readonly linkname?: string | null;
  }
  export interface Extract
    extends Writable,
      AsyncIterable<Readable & { readonly header: Header }> {}
  export function extract(): Extract;
  export interface Pack extends Readable {
    entry(header: { name: string; type?: string; linkname?: string }, body?: string | Buffer): void;
    finalize(): void;
  }
  export function pack(): Pack;
}

declare module "unbzip2-stream" {
  import type { Duplex } from "node:stream";

  const unbzip2Stream: () => Duplex;
  export default unbzip2Stream;
}
