declare const brand: unique symbol;

/**
 * A number or bigint that only its checked constructor may make. Exported so that declarations can
 * name it.
 */
export type Brand<T, B extends string> = T & { readonly [brand]: B };
