"""Three steps of training with every small-data technique, in PyTorch.

Called by TestParityOfTheSmallDataTechniques with a folder that holds
plan.json, initial.safetensors and, as raw float32, stepN.real and stepN.z.
Writes losses.json and final.safetensors. It computes in float64: float32 rounds
differently on every processor, and Adam's first steps, which go by the
gradient's sign, make much of that.
"""
import importlib.util
import json
import os
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm

peer_path, folder = sys.argv[1:]
peer = importlib.util.module_from_spec(importlib.util.spec_from_file_location("peer", peer_path))
peer.__spec__.loader.exec_module(peer)
plan = json.load(open(os.path.join(folder, "plan.json")))
torch.set_default_dtype(torch.float64)


def path(name):
    return os.path.join(folder, name)


def floats(name, *shape):
    return torch.frombuffer(bytearray(open(path(name), "rb").read()), dtype=torch.float32).reshape(shape).double()


def read_safetensors(name):
    raw = open(path(name), "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    types = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
    out = {}
    for key, e in json.loads(raw[8:8 + n]).items():
        if key != "__metadata__":
            a, b = e["data_offsets"]
            data = bytearray(raw[8 + n + a:8 + n + b])
            out[key] = torch.frombuffer(data, dtype=types[e["dtype"]]).reshape(e["shape"])
    return out


class Discriminator(nn.Module):
    """Spectral norm alone, from images to logits."""

    def __init__(self, depth):
        super().__init__()
        channels = 3
        for i in range(5):
            out = depth * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(
                spectral_norm(nn.Conv2d(channels, out, 4, 2, 1, bias=False)), nn.LeakyReLU(0.2)))
            channels = out
        self.output_layer = nn.Sequential(nn.Conv2d(channels, 1, 4, 1, 0, bias=False))

    def forward(self, x):
        for i in range(1, 6):
            x = getattr(self, f"layer{i}")(x)
        return self.output_layer(x).view(-1)


def augment(images, by):
    out = []
    for x, a in zip(images, by):
        x = x + a["Brightness"]
        m = x.mean(0, keepdim=True)
        x = (x - m) * a["Saturation"] + m
        m = x.mean()
        x = (x - m) * a["Contrast"] + m
        top, left = 64 + a["Rows"], 64 + a["Columns"]
        x = F.pad(x, (64, 64, 64, 64))[:, top:top + 128, left:left + 128]
        keep = torch.ones(128, 128)
        keep[max(a["Top"], 0):max(a["Bottom"], 0), max(a["Left"], 0):max(a["Right"], 0)] = 0
        out.append(x * keep)
    return torch.stack(out)


def lecam(excess):
    return plan["lecam"] * torch.relu(excess).square().mean()


def part(tensors, prefix):
    return {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}


initial = read_safetensors("initial.safetensors")
d, g = Discriminator(plan["ddepth"]), peer.Generator(plan["gdepth"], plan["latent"])
d.load_state_dict(part(initial, "discriminator."), strict=True)
g.load_state_dict(part(initial, "generator."), strict=True)
average = {k: v.detach().clone() for k, v in g.named_parameters()}
od = torch.optim.Adam(d.parameters(), lr=plan["dlr"], betas=(0.5, 0.999))
og = torch.optim.Adam(g.parameters(), lr=plan["glr"], betas=(0.5, 0.999))
bce = F.binary_cross_entropy_with_logits
anchors, seen, losses = None, 0, []
for i, step in enumerate(plan["steps"]):
    real = floats(f"step{i}.real", -1, 3, 128, 128)
    z = floats(f"step{i}.z", -1, plan["latent"], 1, 1)
    n = len(real)
    d.zero_grad()
    on_real = d(augment(real, step["real"]))
    loss_real = bce(on_real, torch.full((n,), 1 - plan["smoothing"]))
    (loss_real + (lecam(on_real - anchors[1]) if anchors else 0)).backward()
    fake = g(z)
    on_fake = d(augment(fake.detach(), step["fake"]))
    loss_fake = bce(on_fake, torch.zeros(n))
    (loss_fake + (lecam(anchors[0] - on_fake) if anchors else 0)).backward()
    od.step()
    g.zero_grad()
    loss_g = bce(d(augment(fake, step["generator"])), torch.ones(n))
    loss_g.backward()
    og.step()
    means = [on_real.mean().item(), on_fake.mean().item()]
    anchors = [0.99 * a + 0.01 * m for a, m in zip(anchors, means)] if anchors else means
    h = min(plan["average"], 0.05 * seen)
    keep = 0.5 ** (n / h) if h else 0
    for k, v in g.named_parameters():
        average[k] = keep * average[k] + (1 - keep) * v.detach()
    seen += n
    losses.append([loss_real.item(), loss_fake.item(), loss_g.item(), on_real.sign().mean().item(), *anchors])

json.dump(losses, open(path("losses.json"), "w"))
final = {"discriminator." + k: v for k, v in d.state_dict().items()}
final |= {"generator." + k: v for k, v in g.state_dict().items()}
final |= {"average.generator." + k: v for k, v in average.items()}
final = {k: v.float() if v.is_floating_point() else v for k, v in final.items()}
peer.write_safetensors(path("final.safetensors"), final, {"peer": torch.__version__})
