/** What the page's first answer holds of the images. */

import type { Image } from "./api.ts";

/** How many images are shown until somebody asks for more. */
export const SHOWN_AT_ONCE = 60;

export interface FirstImages {
  images: readonly Image[];
  /** How many there are in all. */
  all: number;
}
