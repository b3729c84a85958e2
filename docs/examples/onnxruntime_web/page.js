"use strict";
// One thread needs no headers of cross-origin isolation, so any file server does.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL(".", location.href).href;
const find = (id) => document.getElementById(id);
const loaded = ort.InferenceSession.create("model.onnx");

/** Bytes of an image as the model takes them: [1, height, width, channels]. */
async function pixels(file, channels) {
  // As they are in the file: no profile of color is applied, as in the toolkit.
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fillStyle = "white"; // transparent images are laid over white
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const kept = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = rgba.subarray(4 * i, 4 * i + 3);
    if (channels === 1) kept[i] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16; // as Pillow
    else kept.set([r, g, b], 3 * i);
  }
  return new ort.Tensor("uint8", kept, [1, height, width, channels]);
}

/** The embedding of an image, of length 1. */
async function embed(file) {
  const session = await loaded;
  const channels = session.inputMetadata[0].shape[3];
  const { embeddings } = await session.run({ images: await pixels(file, channels) });
  return embeddings.data;
}

find("file").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  try {
    find("state").textContent = "Embedding …";
    const started = performance.now();
    const row = await embed(file);
    find("state").textContent =
      `${row.length} values in ${Math.round(performance.now() - started)} ms`;
    find("embedding").textContent = Array.from(row, (value) => value.toFixed(4)).join(" ");
    find("shown").src = URL.createObjectURL(file);
    find("shown").alt = file.name;
    find("shown").hidden = false;
  } catch (error) {
    find("state").textContent = `${file.name} cannot be embedded: ${error.message}`;
  }
});
loaded.then(
  () => { find("state").textContent = "Ready: choose an image."; },
  (error) => { find("state").textContent = `The model cannot be loaded: ${error.message}`; },
);
