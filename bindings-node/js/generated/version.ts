// Written by `make gen` from the code. Change the code, not this file.

/** The version shared by crate, wheel and addon. */
export const version = "0.1.0";
