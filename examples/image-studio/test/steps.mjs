// What a person does on the page of the image studio.

/** The panel with the picture. */
export const picture = (page) => page.getByRole("region", { name: /^(Imagen|Image)$/ });

/** Presses one of a few choices. */
export const choose = (page, name) => page.getByRole("button", { name, exact: true }).click();

/** Writes a prompt and presses the button; what comes of it is not waited for. */
export async function make(page, prompt) {
  const field = page.getByRole("textbox", { name: /^(Qué muestra la imagen|What the image shows)$/ });
  await field.fill(prompt);
  await page.getByRole("button", { name: /^(Generar|Generate)$/ }).click();
}

/** Until nothing is drawn any more. */
export const idle = (page) => page.getByRole("button", { name: /^(Generar|Generate)$/ }).waitFor();

/** Drops a file on the page, as a browser does from the desktop. */
export async function drop(page, name, bytes) {
  const transfer = await page.evaluateHandle(
    ([file, base64]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], file, { type: "image/png" }));
      return data;
    },
    [name, bytes.toString("base64")],
  );
  await page.dispatchEvent("body", "dragover", { dataTransfer: transfer });
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
}
