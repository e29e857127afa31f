/*
 * Names that the test programs of the stable 6.12 series use and its headers lack: fixes of later
 * tests were taken over without what they test. The programs themselves stay as they are.
 *
 * A mock device of 6.12 has no PASIDs and its hardware information no input type, so the values
 * say: none.
 */
#define IOMMU_HW_INFO_TYPE_DEFAULT 0
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE 1
#define in_data_type out_data_type
#define MOCK_FLAGS_DEVICE_PASID 0
#define MOCK_PASID_WIDTH 0
