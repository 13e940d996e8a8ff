"""Makes the fixtures of this folder with Pillow, against which the Go code is checked.

    python make.py        # needs Pillow (13.0.0 made the committed files)

square_WxH.png  what Pillow makes of the W x H picture of pixel() below:
                centre crop to a square (torchvision's rounding), resize to
                128 x 128 with BILINEAR.
*.jpg, *.webp   small files in encodings that Go's libraries only decode. The
                picture is 24 x 16: left half (200, 40, 90), right half (30, 160, 220);
                alpha.webp is half transparent in its right half.
"""
import os

from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = [(200, 200), (37, 91), (500, 333), (128, 128), (16, 16), (131, 128), (257, 300), (1, 1), (1000, 129)]


def pixel(x, y, c):
    return ((x * x * (c + 3) + y * y * 5 + x * y * (7 - c)) // (11 + 4 * c) + (x // 9) * 31 * (c + 1)) & 255


def square(w, h):
    img = Image.new("RGB", (w, h))
    img.putdata([tuple(pixel(x, y, c) for c in range(3)) for y in range(h) for x in range(w)])
    s = min(w, h)
    left, top = int(round((w - s) / 2.0)), int(round((h - s) / 2.0))
    img = img.crop((left, top, left + s, top + s)).resize((128, 128), Image.BILINEAR)
    img.save(os.path.join(HERE, f"square_{w}x{h}.png"), optimize=True)


def halves():
    img = Image.new("RGB", (24, 16), (200, 40, 90))
    img.paste((30, 160, 220), (12, 0, 24, 16))
    return img


def main():
    for w, h in SIZES:
        square(w, h)
    img = halves()

    def save(name, picture, **options):
        picture.save(os.path.join(HERE, name), **options)

    cmyk = Image.new("CMYK", (24, 16), (20, 200, 100, 30))
    cmyk.paste((220, 60, 10, 0), (12, 0, 24, 16))
    save("cmyk.jpg", cmyk, quality=95, subsampling=0)
    save("progressive.jpg", img, quality=95, progressive=True, subsampling=0)
    save("lossy.webp", img, quality=95)
    save("lossless.webp", img, lossless=True)
    alpha = img.convert("RGBA")
    alpha.paste((30, 160, 220, 128), (12, 0, 24, 16))
    save("alpha.webp", alpha, lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("turned.jpg", img, quality=95, subsampling=0, exif=exif)


if __name__ == "__main__":
    main()
