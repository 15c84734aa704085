#!/usr/bin/env python3
"""Makes the sample photos from those that scikit-image ships.

Needs:  pip install scikit-image==0.26.0 pillow==13.0.0
Run it from anywhere:  python samples/make_samples.py
"""

from pathlib import Path

import skimage.data
from PIL import Image

HERE = Path(__file__).resolve().parent
QUALITY = 92


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)())


def save(image: Image.Image, name: str) -> None:
    image.save(HERE / name, quality=QUALITY)
    print(f"{name}: {image.width} x {image.height}, {(HERE / name).stat().st_size} bytes")


def cat_and_coffee() -> Image.Image:
    """A cat on the left, a cup of coffee on the right, each 300 x 600."""
    cat, coffee = photo("chelsea"), photo("coffee")
    both = Image.new("RGB", (600, 600))
    both.paste(cat.crop((130, 0, 280, cat.height)).resize((300, 600), Image.Resampling.BICUBIC), (0, 0))
    both.paste(coffee.crop((200, 0, 400, coffee.height)).resize((300, 600), Image.Resampling.BICUBIC), (300, 0))
    return both


def main() -> None:
    save(cat_and_coffee(), "cat_and_coffee.jpg")
    for name in ("chelsea", "coffee", "astronaut", "rocket"):
        save(photo(name), f"{name}.jpg")


if __name__ == "__main__":
    main()
