import ayni from "./index.cjs";

export const { version, errorKinds } = ayni;
