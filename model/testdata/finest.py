"""Some steps of training with all parts of the finest recipe, in PyTorch.

Called by TestParityOfTheFinestRecipe with a folder that holds plan.json,
initial.safetensors and, as raw float32, stepN.real, stepN.z and stepN.noiseM, and
with the file to write: losses of each step and the final state. It computes in
float64: see smalldata.py. Nothing is shared with the program that it checks but the
names of the state.
"""
import json
import os
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm

folder, out_path = sys.argv[1:]
plan = json.load(open(os.path.join(folder, "plan.json")))
size, depth, shift = plan["size"], plan["depth"], plan["size"] // 8
torch.set_default_dtype(torch.float64)


def floats(name, *shape):
    raw = bytearray(open(os.path.join(folder, name), "rb").read())
    return torch.frombuffer(raw, dtype=torch.float32).reshape(shape).double()


def read_safetensors(name):
    raw = open(os.path.join(folder, name), "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    types = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
    out = {}
    for key, e in json.loads(raw[8:8 + n]).items():
        if key != "__metadata__":
            a, b = e["data_offsets"]
            data = bytearray(raw[8 + n + a:8 + n + b])
            out[key] = torch.frombuffer(data, dtype=types[e["dtype"]]).reshape(e["shape"])
    return out


def write_safetensors(path, tensors, metadata):
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name, t in tensors.items():
        raw = t.detach().contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}[t.dtype]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(blobs))


class Block(nn.Module):
    """Convolution, noise, batch norm, ReLU; doubled before unless it is the first."""

    def __init__(self, channels, out, first):
        super().__init__()
        conv = nn.ConvTranspose2d(channels, out, 4, 1, 0, bias=False) if first else nn.Conv2d(channels, out, 3, 1, 1, bias=False)
        self.add_module("0", conv)
        self.add_module("1", nn.BatchNorm2d(out))
        self.noise, self.first = nn.Parameter(torch.zeros(out)), first

    def forward(self, x, maps):
        conv, norm = self._modules["0"], self._modules["1"]
        if not self.first:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(norm(conv(x) + self.noise.view(1, -1, 1, 1) * maps))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [depth * 2**i for i in reversed(range(plan["blocks"]))] + [plan["fine"]]
        channels = plan["latent"]
        for i, out in enumerate(widths):
            setattr(self, f"layer{i + 1}", Block(channels, out, i == 0))
            channels = out
        self.layers = len(widths)
        self.output_layer = nn.Sequential(nn.Conv2d(channels, 1, 3, 1, 1, bias=False))

    def forward(self, z, noise):
        for i in range(self.layers):
            z = getattr(self, f"layer{i + 1}")(z, noise[i])
        return torch.tanh(self.output_layer(z))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        channels = 1
        for i in range(plan["blocks"]):
            out = depth * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(
                spectral_norm(nn.Conv2d(channels, out, 4, 2, 1, bias=False)), nn.LeakyReLU(0.2)))
            channels = out
        self.output_layer = nn.Sequential(nn.Conv2d(channels + 1, 1, 4, 1, 0, bias=False))
        self.patch_layer = nn.Sequential(nn.Conv2d(depth * 4, 1, 1, 1, 0, bias=False))

    def forward(self, x):
        for i in range(plan["blocks"]):
            x = getattr(self, f"layer{i + 1}")(x)
            if i == 2:
                middle = x
        n = len(x)
        g = 4 if n % 4 == 0 else n
        y = x.reshape(g, n // g, *x.shape[1:])
        y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        y = y.repeat(g).view(n, 1, 1, 1).expand(n, 1, *x.shape[2:])
        image = self.output_layer(torch.cat([x, y], 1)).flatten(1)
        return torch.cat([image, self.patch_layer(middle).flatten(1)], 1)


def augment(images, by):
    out = []
    for x, a in zip(images, by):
        x = x.flip(2) if a["Mirror"] else x
        x = x.flip(1) if a["Upend"] else x
        x = F.pad(x[None], (shift,) * 4, mode="reflect")[0]
        top, left = shift + a["Down"], shift + a["Aside"]
        out.append(x[:, top:top + size, left:left + size])
    return torch.stack(out)


def part(tensors, prefix):
    return {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}


initial = read_safetensors("initial.safetensors")
d, g = Discriminator(), Generator()
d.load_state_dict(part(initial, "discriminator."), strict=True)
g.load_state_dict(part(initial, "generator."), strict=True)
average = {k: v.detach().clone() for k, v in g.named_parameters()}
od = torch.optim.Adam(d.parameters(), lr=plan["dlr"], betas=(0, 0.9))
og = torch.optim.Adam(g.parameters(), lr=plan["glr"], betas=(0, 0.9))
seen, losses = 0, []
for i, step in enumerate(plan["steps"]):
    done = i / plan["total"]
    share = 1 if done < 0.5 else max(2 * (1 - done), 0.02)
    od.param_groups[0]["lr"], og.param_groups[0]["lr"] = plan["dlr"] * share, plan["glr"] * share
    real = floats(f"step{i}.real", -1, 1, size, size)
    z = floats(f"step{i}.z", -1, plan["latent"], 1, 1)
    noise = [floats(f"step{i}.noise{m}", -1, 1, 4 << m, 4 << m) for m in range(g.layers)]
    on_real = d(augment(real, step["real"]))
    fake = g(z, noise)
    on_fake = d(augment(fake.detach(), step["fake"]))
    loss_real, loss_fake = F.relu(1 - on_real).mean(), F.relu(1 + on_fake).mean()
    od.zero_grad()
    (loss_real + loss_fake).backward()
    od.step()
    loss_g = -d(augment(fake, step["generator"])).mean()
    og.zero_grad()
    loss_g.backward()
    og.step()
    h = min(plan["average"], 0.05 * seen)
    keep = 0.5 ** (len(real) / h) if h else 0
    for k, v in g.named_parameters():
        average[k] = keep * average[k] + (1 - keep) * v.detach()
    seen += len(real)
    losses.append([loss_real.item(), loss_fake.item(), loss_g.item(), on_real.sign().mean().item()])

final = {"discriminator." + k: v for k, v in d.state_dict().items()}
final |= {"generator." + k: v for k, v in g.state_dict().items()}
final |= {"average.generator." + k: v for k, v in average.items()}
final = {k: v.float() if v.is_floating_point() else v for k, v in final.items()}
final["losses"] = torch.tensor(losses)
write_safetensors(out_path, final, {"peer": torch.__version__})
