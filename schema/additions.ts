/**
 * What ioasis adds to Linux's interface.
 *
 * Commands have type byte 0xE5 and numbers from 0xC0: Linux answers ENOTTY, so a program may probe.
 * Options of IOMMU_OPTION have ids from 0x80000000: Linux answers EOPNOTSUPP. Structs grow at their
 * end by the rule of the other structs: a shorter one is filled with zeros, a longer one must end
 * in zeros.
 */
import type { Chapter, FileName } from "./shape.js";

const SINCE = "ioasis 0.2";
const ANY: readonly FileName[] = ["iommufd", "container", "group", "device"];

export const ADDITIONS: Chapter = {
  title: "Additions",
  header: "ioasis.h",
  intro: "Type byte 0xE5, numbers from 0xC0; options from 0x80000000. Linux refuses all of them.",
  constants: [
    {
      meaning: "out_flags of IOASIS_DEVICE_REPORT.",
      values: {
        IOASIS_REPORT_MUST_SHARE: 1,
        IOASIS_REPORT_PASID_OK: 2,
        IOASIS_REPORT_PASID_POLICY: 4,
        IOASIS_REPORT_ATTACHED: 8,
        IOASIS_REPORT_EXPOSED: 16,
      },
    },
    {
      meaning: "Values of IOASIS_OPTION_PASID_POLICY, and of `policy` in ioasis_exposure.",
      values: {
        IOASIS_PASID_REFUSE: 0,
        IOASIS_PASID_EXCLUDE_WINDOWS: 1,
        IOASIS_PASID_TRANSLATED_ONLY: 2,
        IOASIS_PASID_RAW: 3,
      },
    },
    {
      meaning:
        "Options of IOMMU_OPTION. object_id: for the first two 0 (the file) or a device's id," +
        " which goes first; for STRICT 0; for the others a device's id.",
      values: {
        IOASIS_OPTION_PASID_POLICY: 0x80000000,
        IOASIS_OPTION_EXCLUDE_RID_WINDOWS: 0x80000001,
        IOASIS_OPTION_STRICT: 0x80000002,
        IOASIS_OPTION_DEVICE_ROUTING: 0x80000003,
        IOASIS_OPTION_DEVICE_COOKIE: 0x80000004,
      },
    },
    {
      meaning: "Values of IOASIS_OPTION_DEVICE_ROUTING; TRANSLATED_ONLY may be added.",
      values: {
        IOASIS_ROUTING_RID: 0,
        IOASIS_ROUTING_RID_PASID: 1,
        IOASIS_ROUTING_RID_PASID_SHARED_QUEUE: 2,
        IOASIS_ROUTING_SOFTWARE: 3,
        IOASIS_ROUTING_TRANSLATED_ONLY: 0x100,
      },
    },
    {
      meaning: "A PASID that is none: the device's own requests.",
      values: { IOASIS_NO_PASID: 0xffffffff },
    },
  ],
  structs: [
    {
      name: "ioasis_device_report",
      size: 112,
      since: SINCE,
      meaning:
        "The report of a bound device. Counts are room in the arrays; then how many there are." +
        " Devices are segment << 16 | bus << 8 | devfn.",
      fields: [
        "u32 size @0",
        "u32 flags @4 | must be 0",
        "u32 dev_id @8",
        "u32 out_flags @12 | IOASIS_REPORT_*",
        "u32 out_device @16",
        "u32 out_pasid_policy @20 | IOASIS_PASID_*",
        "u32 out_pasid_space @24 | equal numbers share one space of PASIDs",
        "u32 out_max_pasid_log2 @28 | 0: no PASIDs",
        "u64 out_cookie @32",
        "u32 num_alias @40",
        "u32 num_group @44",
        "u64 alias_uptr @48 | pointer to u32: all that must share its address space",
        "u64 group_uptr @56 | pointer to u32: the isolation group",
        "u32 num_permitted @64",
        "u32 num_exposed @68",
        "u64 permitted_uptr @72 | pointer to iommu_iova_range: addresses that can be mapped",
        "u64 exposed_uptr @80 | pointer to ioasis_exposure",
        "u32 share_len @88 | room in bytes; then bytes of the text with its final 0",
        "u32 pasid_len @92",
        "u64 share_uptr @96 | pointer to room for text: why it must share",
        "u64 pasid_uptr @104 | pointer to room for text: why PASIDs are refused",
      ],
    },
    {
      name: "ioasis_exposure",
      size: 24,
      since: SINCE,
      meaning: "Addresses at which an attached device reaches a peer, past the IOMMU.",
      fields: [
        "u32 pasid @0 | IOASIS_NO_PASID: its own requests",
        "u32 policy @4 | IOASIS_PASID_*",
        "u64 start @8",
        "u64 last @16",
      ],
    },
    {
      name: "ioasis_why",
      size: 64,
      since: SINCE,
      meaning:
        "The last refusal of the calling thread, on any file of the platform. Lengths are room in" +
        " bytes; then bytes of the text with its final 0.",
      fields: [
        "u32 size @0",
        "u32 flags @4 | must be 0",
        "s32 out_errno @8 | 0: nothing was refused yet",
        "u32 out_command @12 | of the ioctl; 0: another call",
        "u64 out_sequence @16 | counts refusals of this thread",
        "u64 rule_uptr @24 | pointer to room for the rule, which names the check",
        "u64 text_uptr @32 | pointer to room for the evidence, one sentence a line",
        "u64 cite_uptr @40 | pointer to room for where the rule comes from",
        "u32 rule_len @48",
        "u32 text_len @52",
        "u32 cite_len @56",
        "u32 __reserved @60",
      ],
    },
    {
      name: "ioasis_pasid_space",
      size: 24,
      since: SINCE,
      meaning: "Which devices share one space of PASID numbers.",
      fields: [
        "u32 size @0",
        "u32 flags @4 | must be 0",
        "u32 dev_id @8",
        "u32 out_space_id @12 | equal numbers share one space of PASIDs",
        "u32 out_max_pasid_log2 @16 | 0: no PASIDs",
        "u32 __reserved @20",
      ],
    },
  ],
  ioctls: [
    {
      name: "IOASIS_DEVICE_REPORT",
      command: 0xe5c0,
      files: ["iommufd"],
      argument: "size",
      struct: "ioasis_device_report",
      writeBack: "all",
      since: SINCE,
      meaning: "Reports whom a bound device must share with, is grouped with and can reach.",
      support: "Y",
    },
    {
      name: "IOASIS_WHY",
      command: 0xe5c1,
      files: ANY,
      argument: "size",
      struct: "ioasis_why",
      writeBack: "all",
      since: SINCE,
      meaning: "Says why the last refused call of this thread was refused.",
      support: "Y",
    },
    {
      name: "IOASIS_PASID_SPACE",
      command: 0xe5c2,
      files: ["iommufd"],
      argument: "size",
      struct: "ioasis_pasid_space",
      writeBack: "all",
      since: SINCE,
      meaning: "Names the space of PASID numbers of a bound device.",
      support: "Y",
    },
  ],
};
