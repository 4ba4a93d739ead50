/** The version of this program. From the checkout, where nothing was built, it says so. */

declare const SEALET_VERSION: string;

export const VERSION = typeof SEALET_VERSION === "undefined" ? "0.0.0-source" : SEALET_VERSION;
