/** Numbers of character devices. Majors that Linux gives out as it starts are fixed here. */

/** Documentation/admin-guide/devices.txt. */
export const MISC_MAJOR = 10;
export const VFIO_CONTAINER_MINOR = 196;
/** A dynamic minor number. */
export const IOMMU_MINOR = 258;
/** Dynamic majors, from the range 234 to 254. */
export const VFIO_GROUP_MAJOR = 243;
export const VFIO_DEVICE_MAJOR = 242;
