/** Copies the address of the view, which restores it. */

"use client";

import { Button, useToast } from "ayni-ui";

import { useWords } from "../lib/words.ts";

/** `pin` adds what the view takes from the day on which it is seen. */
export function Share({ pin = {} }: { pin?: Record<string, string> }) {
  const words = useWords();
  const toast = useToast();
  async function share() {
    const address = new URL(window.location.href);
    for (const [name, value] of Object.entries(pin)) address.searchParams.set(name, value);
    // The clipboard exists only in secure contexts; there is a field to copy from otherwise.
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(address.href);
      toast(words.copied);
    } else {
      window.prompt(words.share, address.href);
    }
  }
  return (
    <Button icon="link" onClick={share}>
      {words.share}
    </Button>
  );
}
