"""Makes the fixtures in formats/ with Pillow, tifffile and imagecodecs, whose
readers the Go code is checked against.

    python make_formats.py   # Pillow 13.0.0, tifffile 2026.3.3 and imagecodecs made the committed files

Every picture is 24 x 16: left half (200, 40, 90), right half (30, 160, 220), or
in grey 70 and 200; black and white where there is one bit. What a name says
beyond the format is what differs: see TestFormats.
"""
import os

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "formats")
W, H = 24, 16
RGB = np.zeros((H, W, 3), np.uint8)
RGB[:, :12], RGB[:, 12:] = (200, 40, 90), (30, 160, 220)
GREY = np.full((H, W), 70, np.uint8)
GREY[:, 12:] = 200
BITS = np.zeros((H, W), bool)
BITS[:, 12:] = True


def tif(name, picture, **options):
    options.setdefault("metadata", None)
    options.setdefault("software", False)
    tifffile.imwrite(os.path.join(HERE, name), picture, **options)


def raw(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def pil(name, picture, **options):
    picture.save(os.path.join(HERE, name), **options)


def tiffs():
    for photometric in ("minisblack", "miniswhite"):
        bits = BITS if photometric == "minisblack" else ~BITS
        for name, compression in (("g4", "group4"), ("g3", "group3")):
            # libtiff's encoder, by way of Pillow: 1 is what photometric says it is.
            img = Image.fromarray(BITS)
            pil(f"{name}_{photometric}.tif", img, compression=compression,
                tiffinfo={262: 1 if photometric == "minisblack" else 0})
        tif(f"bits_{photometric}.tif", bits, photometric=photometric)
    tif("zstd_pred.tif", RGB, photometric="rgb", compression="zstd", predictor=True)
    tif("zstd_strips.tif", RGB, photometric="rgb", compression="zstd", rowsperstrip=5)
    tif("zstd_tiles.tif", RGB, photometric="rgb", compression="zstd", tile=(16, 16))
    tif("lzw_planar.tif", np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate", compression="lzw", predictor=True)
    tif("deflate_float_pred.tif", (GREY / 255).astype(np.float32), compression="deflate", predictor=True)
    tif("deflate_half.tif", (GREY / 255).astype(np.float16), compression="deflate", predictor=True)
    tif("double.tif", GREY / 255, byteorder=">")
    tif("float_be_pred.tif", (GREY / 255).astype(np.float32), compression="deflate", predictor=True, byteorder=">")
    tif("float_counts.tif", GREY.astype(np.float32))
    tif("signed8.tif", (GREY // 2).astype(np.int8))
    tif("signed16.tif", (GREY.astype(np.int16) * 128), byteorder=">")
    tif("signed_negative.tif", GREY.astype(np.int16) - 100)
    tif("unsigned32.tif", GREY.astype(np.uint32) * 0x01010101)
    for n in (10, 12, 14):
        tif(f"packed{n}.tif", GREY.astype(np.uint16) << (n - 8), bitspersample=n)
    tif("packbits.tif", RGB, photometric="rgb", compression="packbits")
    cmyk = np.zeros((H, W, 4), np.uint8)
    cmyk[:, :12], cmyk[:, 12:] = (20, 200, 100, 30), (220, 60, 10, 0)
    tif("cmyk_planar.tif", np.moveaxis(cmyk, 2, 0), photometric="separated", planarconfig="separate", compression="deflate")
    tif("cmyk_jpeg.tif", cmyk, photometric="separated", compression="jpeg", compressionargs={"level": 95})
    tif("jpeg_rgb.tif", RGB, photometric="rgb", compression="jpeg", compressionargs={"level": 95, "outcolorspace": "rgb"})
    tif("jpeg_ycbcr_tiles.tif", np.asarray(Image.fromarray(RGB).convert("YCbCr")), photometric="ycbcr", subsampling=(1, 1),
        compression="jpeg", compressionargs={"level": 95}, tile=(16, 16))
    tif("jpeg_grey.tif", GREY, compression="jpeg", compressionargs={"level": 95}, rowsperstrip=8)
    pil("jpeg_libtiff.tif", Image.fromarray(RGB), compression="jpeg", quality=95)
    for name in ("lzma", "lerc", "webp", "jpeg2000"):
        tif(f"no_{name}.tif", GREY if name != "webp" else RGB, compression=name)
    tif("no_complex.tif", GREY.astype(np.complex64))
    tif("no_channels.tif", np.stack([GREY] * 5, 2), photometric="minisblack", planarconfig="contig")
    alpha = np.dstack([RGB, np.zeros((H, W), np.uint8)])
    tif("alpha0.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    tif("extra0.tif", alpha, photometric="rgb", extrasamples=["unspecified"])
    alpha[..., 3] = 255
    tif("rgba16.tif", alpha.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"])
    tif("grey_alpha_planar.tif", np.stack([GREY, np.full_like(GREY, 255)]), photometric="minisblack",
        planarconfig="separate", extrasamples=["unassalpha"])
    with tifffile.TiffWriter(os.path.join(HERE, "big_reduced_first.tif"), bigtiff=True) as t:
        t.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None, software=False)
        t.write(RGB, photometric="rgb", metadata=None, software=False)
        t.write(RGB[::-1], photometric="rgb", metadata=None, software=False)
        t.write(RGB[::4, ::4], photometric="rgb", subfiletype=1, metadata=None, software=False)


def jpegs():
    for name, picture, options in (
        ("deep12_grey", GREY.astype(np.uint16) * 16, {}),
        ("deep12_colour", RGB.astype(np.uint16) * 16, {"subsampling": "444"}),
        ("deep12_420", RGB.astype(np.uint16) * 16, {"subsampling": "420"}),
    ):
        raw(name + ".jpg", imagecodecs.jpeg_encode(picture, level=95, bitspersample=12, **options))
    ramp = (np.arange(H * W).reshape(H, W) * 157 % 65536).astype(np.uint16)
    for name, picture, options in (
        ("lossless8", GREY, {}), ("lossless8_rgb", RGB, {}), ("lossless16", ramp, {"bitspersample": 16}), ("lossless12", ramp >> 4, {"bitspersample": 12}),
    ):
        raw(name + ".jpg", imagecodecs.jpeg_encode(picture, lossless=True, **options))
    for p in range(1, 8):
        raw(f"lossless_p{p}.jpg", imagecodecs.jpeg_encode(ramp.astype(np.uint8), lossless=True, predictor=p))
    raw("no_jpegls.jpg", imagecodecs.jpegls_encode(GREY))


def webps():
    left, other = Image.fromarray(RGB), Image.fromarray(RGB[::-1, ::-1].copy())
    pil("animated.webp", left, save_all=True, append_images=[other], duration=100, lossless=True)
    pil("animated_lossy.webp", left, save_all=True, append_images=[other, left], duration=100, quality=95)
    see = np.dstack([RGB, np.zeros((H, W), np.uint8)])
    pil("alpha0.webp", Image.fromarray(see), lossless=True, exact=True)
    pil("alpha0_lossy.webp", Image.fromarray(see), quality=95, exact=True)
    pil("alpha0.png", Image.fromarray(see))
    exif = Image.Exif()
    exif[0x0112] = 6
    pil("turned.webp", left, lossless=True, exif=exif)
    pil("turned.png", left, exif=exif)
    pil("animated.png", left, save_all=True, append_images=[other, left], duration=100)
    pil("animated.gif", left, save_all=True, append_images=[other], duration=100)


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    tiffs()
    jpegs()
    webps()
