"""A PyTorch twin of the recipes under search, with the recipe's own switches.

On a card a training step is one CUDA graph. It has the networks, losses,
augmentations and averages of model/, but draws its own random numbers, so it
agrees with the product in distribution, not in bits. Images are grey,
128x128.
"""
import copy
import math
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm

SIZE = 128
LATENT = 100

# The switches of an arm, named as the recipe's keys.
BASE = {
    "generator": "upsample",  # or "transposed"
    "generator_depth": 32,
    "generator_fine": 16,  # width of one more block at full resolution; 0 for none
    "generator_noise": True,
    "discriminator_depth": 32,
    "discriminator_norm": "none",  # spectral norm alone; "free" for none at all
    "discriminator_head": "image",  # or "both": with a logit for each place of the 16x16 map
    "minibatch_stddev": False,
    "loss": "hinge",  # or "bce", "relativistic"
    "rate": 2e-4,
    "beta1": 0.0,
    "beta2": 0.9,
    "batch": 16,
    "steps": 5000,
    "decay": "none",  # or "linear", "cosine", "late": constant, then linear from half way on
    "augment": ["flip", "shift"],  # of what the discriminator sees
    "real_augment": ["flip"],
    "r1": 0.0,
    "r2": 0.0,
    "average_images": 10_000,  # half-life of the generator's average
}


class Noise(nn.Module):
    """One N(0,1) map an image, times a learned strength of each channel."""

    def __init__(self, channels):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        n, _, h, w = x.shape
        return x + self.strength * torch.randn(n, 1, h, w, device=x.device)


class Upsample(nn.Module):
    def forward(self, x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Generator(nn.Module):
    """(N,100,1,1) standard normal -> (N,1,128,128) in [-1,1]."""

    def __init__(self, a):
        super().__init__()
        depth, up = a["generator_depth"], a["generator"] == "upsample"

        def block(conv, channels):
            noise = [Noise(channels)] if a["generator_noise"] else []
            return nn.Sequential(*conv, *noise, nn.BatchNorm2d(channels), nn.ReLU())

        def double(into, out):
            if up:
                return [Upsample(), nn.Conv2d(into, out, 3, 1, 1, bias=False)]
            return [nn.ConvTranspose2d(into, out, 4, 2, 1, bias=False)]

        channels = 16 * depth
        layers = [block([nn.ConvTranspose2d(LATENT, channels, 4, 1, 0, bias=False)], channels)]
        fine = a["generator_fine"]
        for out in [8 * depth, 4 * depth, 2 * depth, depth] + ([fine] if fine else []):
            layers.append(block(double(channels, out), out))
            channels = out
        last = [nn.Conv2d(channels, 1, 3, 1, 1, bias=False)] if fine else double(channels, 1)
        self.net = nn.Sequential(*layers, *last, nn.Tanh())

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    """(N,1,128,128) -> (N,L) logits, L = 1, or 257 with discriminator_head "both"."""

    def __init__(self, a):
        super().__init__()
        free = a["discriminator_norm"] == "free"
        wrap = (lambda m: m) if free else spectral_norm
        channels, layers = 1, []
        for i in range(5):
            out = a["discriminator_depth"] * 2**i
            layers.append(nn.Sequential(wrap(nn.Conv2d(channels, out, 4, 2, 1, bias=False)), nn.LeakyReLU(0.2)))
            channels = out
        self.layers = nn.ModuleList(layers)
        self.stddev = a["minibatch_stddev"]
        self.image = nn.Conv2d(channels + self.stddev, 1, 4, 1, 0, bias=False)
        both = a["discriminator_head"] == "both"
        self.places = nn.Conv2d(4 * a["discriminator_depth"], 1, 1, bias=False) if both else None

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == 2:
                middle = x
        if self.stddev:
            x = torch.cat([x, deviation(x)], 1)
        logits = self.image(x).flatten(1)
        if self.places is not None:
            logits = torch.cat([logits, self.places(middle).flatten(1)], 1)
        return logits


def deviation(x):
    """Mean standard deviation within groups of four images, one map an image (Karras 2018)."""
    n = x.shape[0]
    size = 4 if n % 4 == 0 else n
    groups = x.reshape(size, -1, *x.shape[1:])
    spread = (groups - groups.mean(0)).square().mean(0).add(1e-8).sqrt().mean((1, 2, 3))
    return spread.repeat(size).reshape(n, 1, 1, 1).expand(n, 1, *x.shape[2:])


def initialize(m):
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight_orig if hasattr(m, "weight_orig") else m.weight, 0, 0.02)
    if isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1, 0.02)


def augmented(x, parts):
    """Each image mirrored, turned and shifted (borders mirrored) by chance."""
    n = x.shape[0]
    chance = torch.rand(3, n, 1, 1, 1, device=x.device) < 0.5
    if "flip" in parts:
        x = torch.where(chance[0], x.flip(3), x)
        x = torch.where(chance[1], x.flip(2), x)
    if "turn" in parts:
        x = torch.where(chance[2], x.transpose(2, 3), x)
    if "shift" in parts:
        most = SIZE // 8
        x = F.pad(x, (most,) * 4, mode="reflect")
        along = torch.arange(SIZE, device=x.device)[None]
        rows, columns = (along + torch.randint(0, 2 * most + 1, (n, 1), device=x.device) for _ in range(2))
        x = x.gather(2, rows[:, None, :, None].expand(n, 1, SIZE, x.shape[3]))
        x = x.gather(3, columns[:, None, None, :].expand(n, 1, SIZE, SIZE))
    return x


def losses(kind, real, fake):
    """Loss of the discriminator by its logits on real and on generated images."""
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return F.softplus(fake - real).mean()


def rate_share(decay, done):
    """The share of the rate in use when this share of the steps is done."""
    share = {
        "none": 1.0,
        "linear": 1 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "late": min(1.0, 2 * (1 - done)),
    }[decay]
    return max(share, 0.02)


class Training:
    def __init__(self, a, images, seed, device):
        self.a, self.device, self.cuda = a, device, device != "cpu"
        self.g, self.d = Generator(a).to(device), Discriminator(a).to(device)
        self.g.apply(initialize)
        self.d.apply(initialize)
        self.average = copy.deepcopy(self.g).requires_grad_(False)
        self.data = (torch.from_numpy(images).to(device).float() / 127.5 - 1)[:, None]
        self.order = self.batches(len(images), seed)
        self.rates = [torch.tensor(a["rate"], device=device) for _ in range(2)]
        options = {"betas": (a["beta1"], a["beta2"]), "capturable": self.cuda}
        self.adam_g, self.adam_d = (
            torch.optim.Adam(net.parameters(), lr=rate if self.cuda else a["rate"], **options)
            for net, rate in zip((self.g, self.d), self.rates))
        self.at = torch.zeros(1, dtype=torch.long, device=device)
        self.keep = torch.zeros((), device=device)
        self.seen = torch.zeros(4, device=device)

    def batches(self, n, seed):
        batch, steps = self.a["batch"], self.a["steps"]
        rng, order = np.random.default_rng(seed), []
        while len(order) < steps * batch:
            order.extend(rng.permutation(n)[: n // batch * batch])
        return torch.tensor(np.array(order[: steps * batch]).reshape(steps, batch), device=self.device)

    def judge(self, x):
        return self.d(augmented(x, self.a["augment"]))

    def penalty(self, x, gamma):
        x = x.detach().requires_grad_(True)
        slope, = torch.autograd.grad(self.judge(x).mean(1).sum(), x, create_graph=True)
        return gamma / 2 * slope.square().sum((1, 2, 3)).mean()

    def step(self):
        a = self.a
        real = self.data.index_select(0, self.order.index_select(0, self.at)[0])
        real = augmented(real, a["real_augment"])
        fake = self.g(torch.randn(a["batch"], LATENT, 1, 1, device=self.device))
        on_real, on_fake = self.judge(real), self.judge(fake.detach())
        loss = losses(a["loss"], on_real, on_fake)
        if a["r1"]:
            loss = loss + self.penalty(real, a["r1"])
        if a["r2"]:
            loss = loss + self.penalty(fake, a["r2"])
        self.adam_d.zero_grad(set_to_none=False)
        loss.backward()
        self.adam_d.step()
        logits = self.judge(fake)
        if a["loss"] == "hinge":
            fooled = -logits.mean()
        elif a["loss"] == "bce":
            fooled = F.softplus(-logits).mean()
        else:
            fooled = F.softplus(self.judge(real).detach() - logits).mean()
        self.adam_g.zero_grad(set_to_none=False)
        fooled.backward()
        self.adam_g.step()
        for kept, new in zip(self.average.parameters(), self.g.parameters()):
            kept.lerp_(new.detach(), 1 - self.keep)
        self.seen.copy_(torch.stack([loss, fooled, on_real.mean(), on_fake.mean()]).detach())
        self.at.add_(1)

    def prepare(self, i):
        """Sets what changes from step to step."""
        images = i * self.a["batch"]
        half = min(self.a["average_images"], 0.05 * images)
        self.keep.fill_(0.5 ** (self.a["batch"] / half) if images else 0.0)
        share = rate_share(self.a["decay"], i / self.a["steps"])
        for rate, adam in zip(self.rates, (self.adam_g, self.adam_d)):
            rate.fill_(self.a["rate"] * share)
            if not self.cuda:
                adam.param_groups[0]["lr"] = self.a["rate"] * share

    def run(self):
        for p in [*self.g.parameters(), *self.d.parameters()]:
            p.grad = torch.zeros_like(p)
        first, one = 0, self.step
        if self.cuda:
            first, one = self.captured()
        curve = []
        for i in range(first, self.a["steps"]):
            self.prepare(i)
            one()
            if (i + 1) % 500 == 0:
                curve.append([round(v, 4) for v in self.seen.tolist()])
        for kept, new in zip(self.average.buffers(), self.g.buffers()):
            kept.copy_(new)
        return curve

    def captured(self):
        """Warms up on a stream of its own, then records one step as a graph."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for i in range(3):
                self.prepare(i)
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return 3, graph.replay


def train(switches, images, seed, device):
    """Trains on uint8 (n,128,128); returns averaged generator, seconds, and by 500
    steps the losses of D and G and D's mean logits on real and generated images."""
    torch.manual_seed(seed)
    unknown = set(switches) - set(BASE)
    if unknown:
        raise ValueError(f"unknown switches: {sorted(unknown)}")
    training = Training({**BASE, **switches}, images, seed, device)
    began = time.time()
    curve = training.run()
    return training.average, time.time() - began, curve


@torch.no_grad()
def sample(net, count, device, seed=7):
    """uint8 (count,128,128), with batch norm's statistics estimated anew."""
    torch.manual_seed(seed)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None
    net.train()
    for _ in range(16):
        net(torch.randn(64, LATENT, 1, 1, device=device))
    net.eval()
    x = torch.cat([net(torch.randn(60, LATENT, 1, 1, device=device)) for _ in range(-(-count // 60))])[:count]
    return ((x + 1) * 127.5).round().clamp(0, 255).byte()[:, 0].cpu().numpy()
