/**
 * How the interface is written down: structs, constants and ioctls as data.
 *
 * Everything that depends on a layout is generated from these tables: the codecs in src/abi, the C
 * headers in client, the reference pages and the vectors of the tests. Names are those of the
 * kernel's headers, so that they can be searched for on both sides; the words are our own.
 *
 * A field is one line, `TYPE NAME @OFFSET`, optionally followed by `| what it holds`:
 *
 *     u32 size @0
 *     s32 fd @12 | descriptor of the file
 *     u64[2] ste @0                    two numbers
 *     u8[] data @20                    bytes that follow, as many as the caller says
 *     vfio_bitmap bitmap @16           another struct
 *     u32 out_data_type=in_data_type @24      one place with two names
 *
 * TYPE is u8 u16 u32 u64 s32, or the name of a struct. Numbers are little endian and naturally
 * aligned; the offset is checked, not computed, and a C compiler checks it again.
 */

/** See the head of the file. */
export type FieldLine = string;

/** One member of the union of a struct; its offsets count from the start of the struct. */
export interface UnionMember {
  readonly name: string;
  readonly fields: readonly FieldLine[];
}

/** A struct of the interface. */
export interface StructShape {
  /** Without `struct`: `iommu_ioas_map`. */
  readonly name: string;
  /** Bytes; without a flexible array at the end. */
  readonly size: number;
  /** Kernel release that brought it; a field that came later says so in its line. */
  readonly since: string;
  readonly meaning: string;
  readonly fields: readonly FieldLine[];
  readonly union?: readonly UnionMember[];
  /** Ends like the struct of the kernel's own header, but is not in it under this name. */
  readonly own?: boolean;
}

/** Numbers that belong together: flags, types, ids. */
export interface ConstantGroup {
  readonly meaning: string;
  readonly values: Readonly<Record<string, number | bigint>>;
}

/** What a handler copies back to the argument when it succeeds. */
export type WriteBack =
  | "all" /** the struct, as many bytes as the caller gave */
  | "nothing"
  | "itself" /** the handler decides how much; the line of the ioctl says so */
  | string; /** the one field of this name */

/** Where a number in an argument is a descriptor of the caller. */
export interface DescriptorPlace {
  /** Offset of the number; a signed 32-bit number each. */
  readonly at: number;
  /** Several: offset of the 32-bit number that counts them. Absent: one. */
  readonly countAt?: number;
  /** Only when `(u32 at .at) & mask` is one of the values. */
  readonly when?: {
    readonly at: number;
    readonly mask: number;
    readonly values: readonly number[];
  };
}

/** What the third argument of the call is. */
export type ArgumentForm =
  | "size" /** a struct whose first 32 bits are its size */
  | "none" /** ignored */
  | "value" /** a number, no pointer */
  | "int" /** points at one s32 */
  | "string"; /** points at bytes ending with 0 */

/** Y: complete. P: partly. N: refused as a kernel without it refuses it. */
export type Support = "Y" | { readonly partly: string } | { readonly no: string };

/** The kinds of files that answer an ioctl. */
export type FileName = "iommufd" | "container" | "group" | "device" | "migration";

/** One call. */
export interface IoctlShape {
  readonly name: string;
  /** All 32 bits. */
  readonly command: number;
  readonly files: readonly FileName[];
  readonly argument: ArgumentForm;
  /** Name of the struct, with argument `size`. */
  readonly struct?: string;
  /** Fewest bytes of the struct; its size when absent. */
  readonly minSize?: number;
  readonly writeBack: WriteBack;
  /** It writes back when it fails, too. */
  readonly writesOnError?: boolean;
  readonly descriptors?: readonly DescriptorPlace[];
  readonly since: string;
  readonly meaning: string;
  readonly support: Support;
}

/** A feature, type or option that is supported, or not, apart from the call it belongs to. */
export interface PartShape {
  readonly name: string;
  readonly support: Support;
}

/** A part of the interface with a head of its own in the reference. */
export interface Chapter {
  readonly title: string;
  /** The kernel's header with the same structs, or ours. */
  readonly header: "linux/iommufd.h" | "linux/vfio.h" | "iommufd_test.h" | "ioasis.h";
  readonly intro: string;
  readonly constants: readonly ConstantGroup[];
  readonly structs: readonly StructShape[];
  readonly ioctls: readonly IoctlShape[];
  readonly parts?: readonly PartShape[];
}
