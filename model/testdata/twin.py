"""Steps of training by a recipe, in PyTorch: the twin of package model.

Called by TestParityOfEachSwitch with folders that hold plan.json and, for each
step, the checkpoint before it in stepN.before and, as raw float32, stepN.real,
stepN.z and stepN.noiseK. Writes the state after each step, Adam's moments among it,
to stepN.after, and to results.json the losses, and how near an activation came to
the kink of its ReLU. It computes in float64, see smalldata.py. What float32's
rounding does is not carried on: each step sets out from the checkpoint, and its
generator learns from the discriminator of the next checkpoint. With "bench THREADS STEPS" in place of the folders it
times steps of the recipe in plan.json from standard input, in float32.
"""
import json
import math
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
        widths = [m["generator_depth"] << (blocks - 1 - i) for i in range(blocks)]
        widths += [w for w in [m.get("generator_fine")] if w] + [int(m.get("channels") or 3)]
        upsample, noise, self.names = m.get("generator") == "upsample", m.get("generator_noise"), {}
        layers, into = [], m["latent"]
        for i, out in enumerate(widths):
            last = i == len(widths) - 1
            name = "output_layer" if last else f"layer{i + 1}"
            if i > 0 and upsample:
                if not last or not m.get("generator_fine"):  # which doubled before
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
        layers, into, self.names = [], int(m.get("channels") or 3), {}
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
        patch, self.both = m.get("discriminator_head") == "patch", m.get("discriminator_head") == "both"
        self.spread = m.get("minibatch_stddev")
        into += bool(self.spread)
        layers.append(nn.Conv2d(into, 1, 3, 1, 1, bias=False) if patch else nn.Conv2d(into, 1, 4, 1, 0, bias=False))
        self.names["output_layer.0."] = f"all.{len(layers) - 1}."
        self.all = nn.Sequential(*layers)
        if self.both:
            self.patches = nn.Conv2d(m["discriminator_depth"] << 2, 1, 1, bias=False)
            self.names["patch_layer.0."] = "patches."

    def forward(self, x):
        logits, halved = [], 0
        for i, layer in enumerate(self.all):
            if self.spread and i == len(self.all) - 1:
                x = spread(x)
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                halved += 1
                if self.both and halved == 3:
                    logits = [self.patches(x).flatten(1)]
        return torch.cat([x.flatten(1)] + logits, 1).flatten()


def spread(x):
    """One more channel: how much the images of a group of four, or of all, differ."""
    n = len(x)
    g = 4 if n % 4 == 0 else n
    y = x.reshape(g, n // g, *x.shape[1:])
    y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).repeat(g)
    return torch.cat([x, y.view(n, 1, 1, 1).expand(n, 1, *x.shape[2:])], 1)


def renamed(state, names, back=False):
    out = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            a, b = (theirs, ours) if back else (ours, theirs)
            if key.startswith(a):
                out[b + key[len(a):]] = value
    return out


def part(state, prefix):
    return {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)}


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
        self.adaptation = None
        betas = lambda who: tuple(float(t.get(f"{who}_beta{i}") or t[f"beta{i}"]) for i in (1, 2))
        self.od = torch.optim.Adam(self.d.parameters(), lr=t["discriminator_rate"], betas=betas("discriminator"))
        self.og = torch.optim.Adam(self.g.parameters(), lr=t["generator_rate"], betas=betas("generator"))

    def sides(self):
        for net, optimiser, name in ((self.d, self.od, "discriminator."), (self.g, self.og, "generator.")):
            yield net, optimiser, name, renamed(dict(net.named_parameters()), net.names, True)

    def load(self, state, done):
        self.done, self.adaptation = done, state.get("augment.adaptation")
        for net, optimiser, name, parameters in self.sides():
            net.load_state_dict(renamed(part(state, name), net.names), strict=True)
            moments = part(state, "optimizer." + name)
            for key, p in parameters.items():
                optimiser.state[p] = {"step": torch.tensor(float(done))}
                for moment in ("exp_avg", "exp_avg_sq"):
                    optimiser.state[p][moment] = moments[f"{key}.{moment}"].to(p.dtype)

    def state(self):
        out = {}
        for net, optimiser, name, parameters in self.sides():
            own = net.state_dict() | (self.learned if net is self.d else {})
            out |= {name + k: v for k, v in renamed(own, net.names, True).items()}
            for key, p in parameters.items():
                for moment in ("exp_avg", "exp_avg_sq"):
                    out[f"optimizer.{name}{key}.{moment}"] = optimiser.state[p][moment]
        out = {k: v.float() if v.is_floating_point() else v for k, v in out.items()}
        return out | ({} if self.adaptation is None else {"augment.adaptation": self.adaptation})

    def adapt(self, n):
        """Every four steps, towards the target for the mean sign of real logits."""
        p, signs, seen = self.adaptation.tolist()
        signs, seen = signs + n * self.sign, seen + n
        if self.done % 4 == 0:
            up = 1 if signs / seen >= self.t["augment_target"] else -1
            p, signs, seen = min(max(p + up * seen / self.t["augment_images"], 0), 0.8), 0, 0
        self.adaptation = torch.tensor([p, signs, seen])

    def rates(self):
        done, decay = self.done / max(self.total, 1), self.t.get("decay")
        factor = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2,
                  "late": max(min(2 * (1 - done), 1), 0.02)}.get(decay, 1)
        self.od.param_groups[0]["lr"] = factor * self.t["discriminator_rate"]
        self.og.param_groups[0]["lr"] = factor * self.t["generator_rate"]

    def penalty(self, x, gamma):
        x = x.detach().requires_grad_()
        logits = self.d(x).view(len(x), -1).mean(1)
        slope, = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return gamma / 2 * slope.square().sum((1, 2, 3)).mean()

    def watch(self):
        """Keeps the least distance from a kink, in deviations of its layer's inputs."""
        def see(_, inputs):
            x = inputs[0].detach()
            x = x[x != 0]  # what is cut out is zero in any arithmetic
            self.margin = min(self.margin, (x.abs().min() / x.std()).item())
        for layer in [*self.d.modules(), *self.g.modules()]:
            if isinstance(layer, (nn.ReLU, nn.LeakyReLU)):
                layer.register_forward_pre_hook(see)

    def step(self, real, z, by=None, learned=None):
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
        self.sign = r.sign().mean().item()
        for gamma, x, who in ((self.t.get("r1"), real, "real"), (self.t.get("r2"), fake.detach(), "fake")):
            if gamma:
                self.penalty(seen(x, who), gamma).backward()
        self.od.step()
        self.learned = {k: v.detach().clone() for k, v in self.d.named_parameters()}
        with torch.no_grad():
            for name, p in self.d.named_parameters():
                p.copy_((learned or self.learned)[name])
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
        if self.adaptation is not None:
            self.adapt(len(real))
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
        raw = value.detach().contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}[value.dtype]
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
    floats = lambda name, *shape: torch.frombuffer(
        bytearray(open(path(name), "rb").read()), dtype=torch.float32).reshape(shape).double()
    m = plan["recipe"]["model"]
    training = Training(plan["recipe"], plan["total"])
    training.watch()
    losses, margins, side = [], [], side_of(m)
    for i, by in enumerate(plan["steps"]):
        training.load(read_safetensors(path(f"step{i}.before")), i)
        training.margin = math.inf
        parameters = {k for k, _ in training.d.named_parameters()}
        next_d = part(read_safetensors(path(f"step{i + 1}.before")), "discriminator.")
        learned = {k: v for k, v in renamed(next_d, training.d.names).items() if k in parameters}
        real = floats(f"step{i}.real", -1, int(m.get("channels") or 3), side, side)
        for k, noise in enumerate(training.g.noises()):
            noise.maps = floats(f"step{i}.noise{k}", len(real), 1, 4 << k, 4 << k)
        losses.append(training.step(real, floats(f"step{i}.z", len(real), m["latent"], 1, 1), by, learned))
        margins.append(training.margin)
        write_safetensors(path(f"step{i}.after"), training.state())
    json.dump({"losses": losses, "margins": margins}, open(path("results.json"), "w"))


def bench(threads, steps):
    torch.set_num_threads(threads)
    recipe = json.load(sys.stdin)
    m, n = recipe["model"], recipe["train"]["batch"]
    training = Training(recipe)
    real = torch.rand(n, int(m.get("channels") or 3), side_of(m), side_of(m)) * 2 - 1
    took = []
    for _ in range(steps + 1):
        began, used = time.perf_counter(), time.process_time()
        training.step(real, torch.randn(n, m["latent"], 1, 1))
        took.append((time.perf_counter() - began, time.process_time() - used))
    print(json.dumps({"wall": sorted(t[0] for t in took[1:]), "cpu": sorted(t[1] for t in took[1:])}))


if sys.argv[1] == "bench":
    bench(int(sys.argv[2]), int(sys.argv[3]))
else:
    torch.set_default_dtype(torch.float64)
    for folder in sys.argv[1:]:
        parity(folder)
