"""Neuron scores by plain loops: the definitions written out, nothing shared, nothing fast.

A target is a function of the logits at the masks, [rows, masks, vocabulary] -> [rows].
"""

import numpy as np
import torch
import torch.nn.functional as F


def make_target(name: str, answer, contrast=()):
    """prob, logprob, logit-diff; answers of several tokens always take the mean log P."""
    masks = torch.arange(len(answer))

    def log_p(logits):
        return logits.log_softmax(-1)[:, masks, answer].mean(-1)

    if len(answer) > 1 or name == "logprob":
        return log_p
    if name == "prob":
        return lambda logits: logits.softmax(-1)[:, 0, answer[0]]
    assert name == "logit-diff"
    return lambda logits: logits[:, 0, answer[0]] - logits[:, 0, contrast[0]]


def legendre(n: int) -> np.polynomial.Legendre:
    return np.polynomial.Legendre.basis(n)


def interpolatory(nodes: np.ndarray) -> np.ndarray:
    """Weights on [-1, 1] that integrate every polynomial of degree < n exactly."""
    n = len(nodes)
    powers = np.stack([np.polynomial.Legendre.basis(k)(nodes) for k in range(n)])
    integrals = np.zeros(n)
    integrals[0] = 2.0
    return np.linalg.solve(powers, integrals)


def rule_nodes(rule: str, n: int):
    """Nodes t in [0, 1] and weights of the rule with n nodes (trapezoid: n intervals)."""
    if rule == "riemann-left":
        return np.arange(n) / n, np.full(n, 1 / n)
    if rule == "riemann-right":
        return np.arange(1, n + 1) / n, np.full(n, 1 / n)
    if rule == "linspace":
        return np.linspace(0, 1, n), np.full(n, 1 / n)
    if rule == "trapezoid":
        weights = np.full(n + 1, 1 / n)
        weights[[0, -1]] /= 2
        return np.arange(n + 1) / n, weights
    if rule == "gauss-legendre":
        x, w = np.polynomial.legendre.leggauss(n)
    elif rule == "gauss-radau":      # with a node at the right end
        x = np.append(((legendre(n) - legendre(n - 1)) // np.polynomial.Legendre.fromroots([1]))
                      .roots().real, 1.0)
        w = interpolatory(x)
    elif rule == "gauss-lobatto":    # with a node at both ends
        x = np.concatenate([[-1.0], legendre(n - 1).deriv().roots().real, [1.0]])
        w = interpolatory(x)
    else:
        raise ValueError(rule)
    order = np.argsort(x)
    return (x[order] + 1) / 2, w[order] / 2


def at_layer(lm, ids, positions, layer, target, z):
    """F_l(z) for rows z [rows, masks, d_ff] put in the place of layer `layer`'s activations."""
    def replace(a):
        a = a.clone()
        a[:, positions] = z
        return a
    logits = lm.logits(ids.expand(len(z), -1), {layer: replace})
    return target(logits[:, positions])


def integrated_gradients(lm, ids, positions, activations, target, rule, steps):
    """[layers, d_ff]: a_l and dF/dz at all masks; scores are summed over the masks."""
    nodes, weights = (torch.from_numpy(np.ascontiguousarray(v)).to(lm.dtype)
                      for v in rule_nodes(rule, steps))
    scores = []
    for layer in range(lm.layers):
        a = activations[layer][positions]                        # [masks, d_ff]
        z = (nodes[:, None, None] * a).requires_grad_()          # [steps, masks, d_ff]
        f = at_layer(lm, ids, positions, layer, target, z)
        gradient, = torch.autograd.grad(f.sum(), z)
        scores.append((a * (weights[:, None, None] * gradient).sum(0)).sum(0))
    return torch.stack(scores)


def released_procedure(lm, ids, position, activations, answer, steps=20):
    """The paper's released procedure for one mask, step by step: a batch of `steps` scaled copies
    0, a/m, .., (m-1)a/m, the gradient of the answer's probability, the sum times a/m."""
    scores = []
    for layer in range(lm.layers):
        a = activations[layer][position]
        step = a / steps
        scaled = torch.stack([step * k for k in range(steps)]).requires_grad_()

        def replace(x, scaled=scaled):
            x = x.clone()
            x[:, position] = scaled
            return x
        logits = lm.logits(ids.expand(steps, -1), {layer: replace})
        probability = torch.softmax(logits[:, position], dim=1)[:, answer]
        gradient, = torch.autograd.grad(probability.unbind(), scaled)
        scores.append(gradient.sum(dim=0) * step)
    return torch.stack(scores)


def gradients(lm, ids, positions, activations, target):
    """[layers, masks, d_ff]: dF/da_l at the masks, one layer at a time."""
    result = []
    for layer in range(lm.layers):
        z = activations[layer][positions][None].clone().requires_grad_()
        f = at_layer(lm, ids, positions, layer, target, z)
        result.append(torch.autograd.grad(f.sum(), z)[0][0])
    return torch.stack(result)


def fixed_layer_norm(input, _, weight, bias, eps):
    centred = input - input.mean(-1, keepdim=True)
    scale = (input.var(-1, unbiased=False, keepdim=True) + eps).sqrt().detach()
    return centred / scale * weight + bias


class FixedScales(torch.overrides.TorchFunctionMode):
    """RelP's rules (2508.21258): the scale of a norm, an attention pattern and the ratio of an
    activation to its input are constants of the backward pass. (Half of the relevance to each
    factor of a gated FFN is the model's part, LanguageModel.halves_gates.)"""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is F.softmax:                                    # of attention; targets call x.softmax
            return out.detach()
        if func is F.layer_norm:
            return fixed_layer_norm(*args, **(kwargs or {}))
        if func in (torch.rsqrt, torch.Tensor.rsqrt):            # of an RMS norm
            return out.detach()
        if func in (F.gelu, F.relu, F.silu):
            return args[0] * (out / args[0]).detach()
        if func is torch.tanh:                                   # gelu_new: u/2 (1 + tanh(...))
            return out.detach()
        return out


def relevance(lm, ids, positions, activations, target):
    """[layers, d_ff]: a times the gradient under the rules of FixedScales."""
    lm.halves_gates = True
    with FixedScales():
        found = gradients(lm, ids, positions, activations, target)
    lm.halves_gates = False
    return (activations[:, positions] * found).sum(1)


def ablation(lm, ids, positions, activations, target):
    """[layers, d_ff]: F(a) - F(a with that neuron alone zero at all masks)."""
    scores = []
    with torch.no_grad():
        for layer in range(lm.layers):
            a = activations[layer][positions]
            whole = at_layer(lm, ids, positions, layer, target, a[None])
            without = a.repeat(lm.d_ff, 1, 1)
            without[torch.arange(lm.d_ff), :, torch.arange(lm.d_ff)] = 0
            scores.append(whole - at_layer(lm, ids, positions, layer, target, without))
    return torch.stack(scores)


def deltas(lm, ids, positions, activations, target):
    """[layers]: F_l(a_l) - F_l(0)."""
    result = []
    with torch.no_grad():
        for layer in range(lm.layers):
            a = activations[layer][positions]
            f = at_layer(lm, ids, positions, layer, target, torch.stack([a, torch.zeros_like(a)]))
            result.append(float(f[0] - f[1]))
    return result
