"""One prompt's scores as an attribution graph in Neuronpedia's JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Optional

from ._build import VERSION

if TYPE_CHECKING:
    from .attribution import Attribution

__all__ = ["graph_of"]

_KIND = "cross layer transcoder"  # the word of the format for a node with a layer and a number
_REST = "mlp reconstruction error"  # and for what a layer does beside its nodes


def graph_of(one: Attribution, k: int, by: str, slug: Optional[str]) -> dict[str, Any]:
    """See :meth:`engram.Attribution.neuronpedia`."""
    place = one.neuron_positions[-1]
    layers = one.scores.shape[0]
    chosen = one.neurons(k, by)
    logit_id = f"{layers}_{one.answer_ids[0]}_{one.positions[-1]}"
    nodes: list[dict[str, Any]] = [
        {
            "node_id": f"E_{token_id}_{i}",
            "feature": token_id,
            "layer": "E",
            "ctx_idx": i,
            "feature_type": "embedding",
            "jsNodeId": f"E_{token_id}-{i}",
            "clerp": f'Emb: "{token}"',
        }
        for i, (token_id, token) in enumerate(zip(one.ids, one.tokens))
    ]
    links: list[dict[str, Any]] = []

    def add(name: str, feature: int, layer: int, kind: str, label: str, score: float) -> dict[str, Any]:
        nodes.append(
            {
                "node_id": f"{layer}_{name}_{place}",
                "feature": feature,
                "layer": str(layer),
                "ctx_idx": place,
                "feature_type": kind,
                "jsNodeId": f"{layer}_{name}-{place}",
                "clerp": label,
            }
        )
        links.append({"source": nodes[-1]["node_id"], "target": logit_id, "weight": score})
        return nodes[-1]

    # The share of all |scores| that a node and those before it hold, by which readers prune.
    total = one.scores.abs().sum().item() or 1.0
    passed = 0.0
    rest = one.scores.double().sum(1)
    for layer, neuron in chosen:
        score = one.scores[layer, neuron].item()
        node = add(str(neuron), neuron, layer, _KIND, f"neuron {layer}:{neuron}", score)
        passed += abs(score)
        node["influence"] = passed / total
        node["activation"] = one.activations[layer, neuron].item()
        rest[layer] -= score
    for layer in range(layers):
        many = one.scores.shape[1] - sum(at.layer == layer for at in chosen)
        if many > 0:
            label = f"the other {many:,} neurons of layer {layer}"
            add("rest", -1, layer, _REST, label, rest[layer].item())
    nodes.append(
        {
            "node_id": logit_id,
            "feature": one.answer_ids[0],
            "layer": str(layers),
            "ctx_idx": one.positions[-1],
            "feature_type": "logit",
            "jsNodeId": f"{logit_id.rsplit('_', 1)[0]}-{one.positions[-1]}",
            "clerp": f'Output "{one.answer}" (p={one.p:.3f})',
            "is_target_logit": True,
            "token_prob": one.p,
        }
    )
    several = len(one.neuron_positions)
    return {
        "metadata": {
            "slug": slug or f"engram-{one.source.model}".lower().replace("/", "-"),
            "scan": one.source.model.rsplit("/", 1)[-1],
            "schema_version": 1,
            "prompt": one.prompt,
            "prompt_tokens": one.tokens,
            "info": {
                "description": (
                    f"FFN neurons and their scores for the answer ({one.source.method}). A link is a "
                    "score; a layer's links add up to what its neurons contribute to the target, up "
                    "to the completeness gap. What feeds a neuron is not attributed."
                    + (f" Activations are means over {several} tokens." if several > 1 else "")
                ),
                "generator": {"name": "engram", "version": VERSION},
                "create_time_ms": int(time.time() * 1000),
            },
            "generation_settings": {
                "max_feature_nodes": k,
                "method": one.source.method,
                "completeness_gap": one.gap,
                **one.source.options,
            },
        },
        "qParams": {
            "linkType": "both",
            "pinnedIds": [logit_id, *(f"{layer}_{neuron}_{place}" for layer, neuron in chosen[:10])],
            "clickedId": logit_id,
            "supernodes": [],
            "sg_pos": "",
        },
        "nodes": nodes,
        "links": links,
    }
