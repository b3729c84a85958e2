"""Embed a folder of images with a trained model, and find the nearest ones of each query."""

import sys
from pathlib import Path

import numpy as np

import ssl_dml

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def main(model_folder: str, images: str, *queries: str, k: int = 5) -> dict[str, list[str]]:
    """Print and return the k images that are nearest to each query.

    Args:
        model_folder: ``backbone`` (or ``best``) of a run folder.
        images: Folder whose images are searched, with all folders below it.
        *queries: Image files; without any, the first image of the folder.
        k: Number of neighbors.
    """
    model = ssl_dml.load(model_folder)
    paths = sorted(path for path in Path(images).rglob("*") if path.suffix.lower() in SUFFIXES)
    gallery = model.embed(paths, batch_size=256)  # decoded and normalized as in training
    np.savez("embeddings.npz", paths=[str(path) for path in paths], embeddings=gallery)
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)

    found = {}
    for query in queries or [str(paths[0])]:
        row = model.embed([query])[0]
        cosines = gallery @ (row / np.linalg.norm(row))
        nearest = cosines.argsort()[::-1][:k]
        found[query] = [str(paths[i]) for i in nearest]
        print(query)
        for i in nearest:
            print(f"  {cosines[i]:.3f}  {paths[i]}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
