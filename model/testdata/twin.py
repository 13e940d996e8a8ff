"""Steps of training by a recipe, in PyTorch: the twin of package model.

Called by TestParityOfEachSwitch with a folder that holds plan.json,
initial.safetensors and, as raw float32, stepN.real, stepN.z and stepN.noiseK.
Writes losses.json and final.safetensors. It computes in float64, see
smalldata.py. With "bench THREADS STEPS" in place of the folder it times steps of
the recipe in plan.json from standard input, in float32.
"""
import json
import os
import struct
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm


class Noise(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(channels))
        self.maps = None

    def forward(self, x):
        maps = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=x.dtype) if self.maps is None else self.maps
        return x + self.strength.view(1, -1, 1, 1) * maps


class Doubling(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def side_of(m):
    return m.get("size") or 128


class Generator(nn.Module):
    def __init__(self, m):
        super().__init__()
        blocks = side_of(m).bit_length() - 3
        widths = [m["generator_depth"] << (blocks - 1 - i) for i in range(blocks)] + [m.get("channels") or 3]
        upsample, noise, self.names = m.get("generator") == "upsample", m.get("generator_noise"), {}
        layers, into = [], m["latent"]
        for i, out in enumerate(widths):
            last, name = i == blocks, f"layer{i + 1}" if i < blocks else "output_layer"
            if i > 0 and upsample:
                layers.append(Doubling())
                layers.append(nn.Conv2d(into, out, 3, 1, 1, bias=False))
            else:
                layers.append(nn.ConvTranspose2d(into, out, 4, *((1, 0) if i == 0 else (2, 1)), bias=False))
            self.names[name + ".0."] = f"all.{len(layers) - 1}."
            if not last:
                if noise:
                    layers.append(Noise(out))
                    self.names[name + ".noise"] = f"all.{len(layers) - 1}.strength"
                layers.append(nn.BatchNorm2d(out))
                self.names[name + ".1."] = f"all.{len(layers) - 1}."
            layers.append(nn.Tanh() if last else nn.ReLU())
            into = out
        self.all = nn.Sequential(*layers)

    def forward(self, z):
        return self.all(z)

    def noises(self):
        return [l for l in self.all if isinstance(l, Noise)]


class Discriminator(nn.Module):
    def __init__(self, m):
        super().__init__()
        blocks = side_of(m).bit_length() - 3
        norm = m.get("discriminator_norm") or "batch"
        layers, into, self.names = [], m.get("channels") or 3, {}
        for i in range(blocks):
            out = m["discriminator_depth"] << i
            conv = nn.Conv2d(into, out, 4, 2, 1, bias=False)
            layers.append(conv if norm == "free" else spectral_norm(conv))
            self.names[f"layer{i + 1}.0."] = f"all.{len(layers) - 1}."
            if norm == "batch" and i > 0:
                layers.append(nn.BatchNorm2d(out))
                self.names[f"layer{i + 1}.1."] = f"all.{len(layers) - 1}."
            layers.append(nn.LeakyReLU(0.2))
            into = out
        patch = m.get("discriminator_head") == "patch"
        layers.append(nn.Conv2d(into, 1, 3, 1, 1, bias=False) if patch else nn.Conv2d(into, 1, 4, 1, 0, bias=False))
        self.names["output_layer.0."] = f"all.{len(layers) - 1}."
        self.all = nn.Sequential(*layers)

    def forward(self, x):
        return self.all(x).flatten()


def renamed(state, names, back=False):
    out = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            a, b = (theirs, ours) if back else (ours, theirs)
            if key.startswith(a):
                out[b + key[len(a):]] = value
    return out


def augment(images, by):
    if not by:
        return images
    out = []
    for x, a in zip(images, by):
        if a["Mirror"]:
            x = x.flip(2)
        if a["Upend"]:
            x = x.flip(1)
        x = torch.rot90(x, -a["Turns"], (1, 2))
        side = x.shape[1]
        shift = side // 8
        top, left = shift + a["Down"], shift + a["Aside"]
        x = F.pad(x[None], (shift,) * 4, mode="reflect")[0, :, top:top + side, left:left + side]
        x = x + a["Brightness"]
        m = x.mean(0, keepdim=True)
        x = (x - m) * a["Saturation"] + m
        m = x.mean()
        x = (x - m) * a["Contrast"] + m
        top, left = shift + a["Rows"], shift + a["Columns"]
        x = F.pad(x, (shift,) * 4)[:, top:top + side, left:left + side]
        keep = torch.ones(side, side, dtype=x.dtype)
        keep[max(a["Top"], 0):max(a["Bottom"], 0), max(a["Left"], 0):max(a["Right"], 0)] = 0
        out.append(x * keep)
    return torch.stack(out)


class Training:
    def __init__(self, recipe, total=0):
        self.t = t = recipe["train"]
        self.d, self.g, self.total, self.done = Discriminator(recipe["model"]), Generator(recipe["model"]), total, 0
        betas = lambda who: tuple(float(t.get(f"{who}_beta{i}") or t[f"beta{i}"]) for i in (1, 2))
        self.od = torch.optim.Adam(self.d.parameters(), lr=t["discriminator_rate"], betas=betas("discriminator"))
        self.og = torch.optim.Adam(self.g.parameters(), lr=t["generator_rate"], betas=betas("generator"))

    def rates(self):
        done, decay = self.done / max(self.total, 1), self.t.get("decay")
        factor = {"linear": 1 - done, "cosine": (1 + torch.cos(torch.tensor(torch.pi * done)).item()) / 2}.get(decay, 1)
        self.od.param_groups[0]["lr"] = factor * self.t["discriminator_rate"]
        self.og.param_groups[0]["lr"] = factor * self.t["generator_rate"]

    def penalty(self, x, gamma):
        x = x.detach().requires_grad_()
        logits = self.d(x).view(len(x), -1).mean(1)
        slope, = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return gamma / 2 * slope.square().sum((1, 2, 3)).mean()

    def step(self, real, z, by=None):
        by, loss = by or {}, self.t.get("loss") or "bce"
        seen = lambda x, who: augment(x, by.get(who))
        self.rates()
        real = augment(real, by.get("dataset"))
        fake = self.g(z)
        self.d.zero_grad()
        if loss == "relativistic":
            both = self.d(torch.cat([seen(real, "real"), seen(fake.detach(), "fake")]))
            r, f = both.chunk(2)
            loss_real = loss_fake = F.softplus(f - r).mean() / 2
            (loss_real + loss_fake).backward()
        else:
            r = self.d(seen(real, "real"))
            f = self.d(seen(fake.detach(), "fake"))
            if loss == "hinge":
                loss_real, loss_fake = F.relu(1 - r).mean(), F.relu(1 + f).mean()
            else:
                loss_real = F.binary_cross_entropy_with_logits(r, torch.full_like(r, 1 - self.t["label_smoothing"]))
                loss_fake = F.binary_cross_entropy_with_logits(f, torch.zeros_like(f))
            (loss_real + loss_fake).backward()
        for gamma, x, who in ((self.t.get("r1"), real, "real"), (self.t.get("r2"), fake.detach(), "fake")):
            if gamma:
                self.penalty(seen(x, who), gamma).backward()
        self.od.step()
        self.g.zero_grad()
        for p in self.d.parameters():
            p.requires_grad_(False)
        if loss == "relativistic":
            with torch.no_grad():
                beside = self.d(seen(real, "pair"))
            loss_g = F.softplus(beside - self.d(seen(fake, "generator"))).mean()
        elif loss == "hinge":
            loss_g = -self.d(seen(fake, "generator")).mean()
        else:
            f = self.d(seen(fake, "generator"))
            loss_g = F.binary_cross_entropy_with_logits(f, torch.ones_like(f))
        loss_g.backward()
        self.og.step()
        for p in self.d.parameters():
            p.requires_grad_(True)
        self.done += 1
        return [loss_real.item(), loss_fake.item(), loss_g.item()]


def read_safetensors(name):
    raw = open(name, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    types = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
    out = {}
    for key, e in json.loads(raw[8:8 + n]).items():
        if key != "__metadata__":
            a, b = e["data_offsets"]
            out[key] = torch.frombuffer(bytearray(raw[8 + n + a:8 + n + b]), dtype=types[e["dtype"]]).reshape(e["shape"])
    return out


def write_safetensors(name, tensors):
    header, blobs, at = {}, [], 0
    for key, value in sorted(tensors.items()):
        raw = value.contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
        header[key] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with open(name, "wb") as f:
        f.write(struct.pack("<Q", len(raw)) + raw + b"".join(blobs))


def parity(folder):
    path = lambda name: os.path.join(folder, name)
    plan = json.load(open(path("plan.json")))
    torch.set_default_dtype(torch.float64)
    floats = lambda name, *shape: torch.frombuffer(
        bytearray(open(path(name), "rb").read()), dtype=torch.float32).reshape(shape).double()
    m = plan["recipe"]["model"]
    training = Training(plan["recipe"], plan["total"])
    initial = read_safetensors(path("initial.safetensors"))
    for net, prefix in ((training.d, "discriminator."), (training.g, "generator.")):
        state = {k[len(prefix):]: v for k, v in initial.items() if k.startswith(prefix)}
        net.load_state_dict(renamed(state, net.names), strict=True)
    losses, side = [], side_of(m)
    for i, by in enumerate(plan["steps"]):
        real = floats(f"step{i}.real", -1, m.get("channels") or 3, side, side)
        for k, noise in enumerate(training.g.noises()):
            noise.maps = floats(f"step{i}.noise{k}", len(real), 1, 4 << k, 4 << k)
        losses.append(training.step(real, floats(f"step{i}.z", len(real), m["latent"], 1, 1), by))
    json.dump(losses, open(path("losses.json"), "w"))
    final = {"discriminator." + k: v for k, v in renamed(training.d.state_dict(), training.d.names, True).items()}
    final |= {"generator." + k: v for k, v in renamed(training.g.state_dict(), training.g.names, True).items()}
    write_safetensors(path("final.safetensors"),
                      {k: v.float() if v.is_floating_point() else v for k, v in final.items()})


def bench(threads, steps):
    torch.set_num_threads(threads)
    recipe = json.load(sys.stdin)
    m, n = recipe["model"], recipe["train"]["batch"]
    training = Training(recipe)
    real = torch.rand(n, m.get("channels") or 3, side_of(m), side_of(m)) * 2 - 1
    took = []
    for _ in range(steps + 1):
        began, used = time.perf_counter(), time.process_time()
        training.step(real, torch.randn(n, m["latent"], 1, 1))
        took.append((time.perf_counter() - began, time.process_time() - used))
    print(json.dumps({"wall": sorted(t[0] for t in took[1:]), "cpu": sorted(t[1] for t in took[1:])}))


if sys.argv[1] == "bench":
    bench(int(sys.argv[2]), int(sys.argv[3]))
else:
    parity(sys.argv[1])
