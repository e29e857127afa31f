// biome-ignore-all lint/style/noDefaultExport: the library exports one function, CommonJS style
/** Shapes of the archive libraries, as far as they are used here. */
declare module "tar-stream" {
  export interface Header {
    readonly name: string;
    readonly size: number;
    readonly type: string;
    readonly linkname?: string | null;
  }
  export interface Entry extends AsyncIterable<Uint8Array> {
    readonly header: Header;
    resume(): void;
  }
  export interface Extract extends NodeJS.WritableStream, AsyncIterable<Entry> {
    destroy(error?: Error): void;
  }
  export function extract(): Extract;
}

declare module "unbzip2-stream" {
  const unbzip2Stream: () => NodeJS.ReadWriteStream;
  export default unbzip2Stream;
}
