"use strict";

const native = require("./ayni.node");

/** The version shared by crate, wheel and addon. */
const version = native.version();

/** Every error kind, as `err.code` spells it. */
const errorKinds = Object.freeze(native.errorKinds());

module.exports = { version, errorKinds };
