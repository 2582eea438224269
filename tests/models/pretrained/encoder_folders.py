"""Folders of tiny encoders with random weights, and what such an encoder computes, in NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

_WORDS = (
    "the book was very and story cover read great lovely perfect awful broken dull a of it is in to "
    "##s ##ly ##ed ! . ,"
)
WORDS = _WORDS.split(" ")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
KINDS = ("bert", "roberta", "distilbert", "electra")
SMALL = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}

Arrays = dict[str, NDArray[np.float32]]


def encoder_config(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the `config.json` of a tiny encoder."""
    config: dict[str, Any] = {
        "model_type": kind, "vocab_size": len(VOCABULARY), "max_position_embeddings": 24,
    }  # fmt: skip
    if kind == "distilbert":
        config |= {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12, "activation": "gelu"}
    else:
        config |= {**SMALL, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "type_vocab_size": 2}
    if kind == "electra":
        config |= {"embedding_size": 4}
    if kind == "roberta":
        config |= {"type_vocab_size": 1, "pad_token_id": 1}
    return config | changes


def encoder_arrays(config: dict[str, Any], seed: int = 0) -> Arrays:
    """Return random weights by the names that Hugging Face gives them."""
    random = np.random.default_rng(seed)
    kind = config["model_type"]
    is_distilbert = kind == "distilbert"
    width = config["dim" if is_distilbert else "hidden_size"]
    hidden = config["hidden_dim" if is_distilbert else "intermediate_size"]
    size = config.get("embedding_size", width)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], size),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], size),
        "embeddings.LayerNorm.weight": (size,),
        "embeddings.LayerNorm.bias": (size,),
    }
    if not is_distilbert:
        shapes["embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], size)
    if size != width:
        shapes |= {"embeddings_project.weight": (width, size), "embeddings_project.bias": (width,)}
    for number in range(config["n_layers" if is_distilbert else "num_hidden_layers"]):
        if is_distilbert:
            prefix = f"transformer.layer.{number}."
            dense = {"attention.q_lin": (width, width), "attention.k_lin": (width, width),
                     "attention.v_lin": (width, width), "attention.out_lin": (width, width),
                     "ffn.lin1": (hidden, width), "ffn.lin2": (width, hidden)}  # fmt: skip
            norms = ("sa_layer_norm", "output_layer_norm")
        else:
            prefix = f"encoder.layer.{number}."
            dense = {"attention.self.query": (width, width), "attention.self.key": (width, width),
                     "attention.self.value": (width, width),
                     "attention.output.dense": (width, width),
                     "intermediate.dense": (hidden, width), "output.dense": (width, hidden)}  # fmt: skip
            norms = ("attention.output.LayerNorm", "output.LayerNorm")
        for name, shape in dense.items():
            shapes |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
        for name in norms:
            shapes |= {f"{prefix}{name}.weight": (width,), f"{prefix}{name}.bias": (width,)}
    return {
        name: random.normal(1.0 if "orm.weight" in name else 0.0, 0.3, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a `.safetensors` file."""
    dtypes = {"float32": "F32", "float16": "F16", "int64": "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    content = b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        places = [len(content), len(content) + len(data)]
        header[name] = {"dtype": dtypes[array.dtype.name], "shape": list(array.shape),
                        "data_offsets": places}  # fmt: skip
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def write_encoder(
    folder: Path, kind: str = "bert", seed: int = 0, text: str = "", **changes: Any
) -> Arrays:
    """Write the folder of a tiny encoder; return its weights.

    Its vocabulary is `VOCABULARY`, and for a text each of its characters, also within words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    characters = sorted(set(text.lower()) - set(" \n\r\t"))
    others = [part for letter in characters for part in (letter, f"##{letter}")]
    tokens = [*VOCABULARY, *(token for token in others if token not in VOCABULARY)]
    config = encoder_config(kind, vocab_size=len(tokens)) | changes
    arrays = encoder_arrays(config, seed)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    write_arrays(folder / "model.safetensors", dict(arrays))
    return arrays


def _norm(x: Any, arrays: Arrays, name: str, epsilon: float) -> Any:
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    scale, shift = (arrays[f"{name}.{part}"].astype(float) for part in ("weight", "bias"))
    return (x - mean) / np.sqrt(variance + epsilon) * scale + shift


def _dense(x: Any, arrays: Arrays, name: str) -> Any:
    kernel, bias = (arrays[f"{name}.{part}"].astype(float) for part in ("weight", "bias"))
    return x @ kernel.T + bias


def reference(config: dict[str, Any], arrays: Arrays, ids: NDArray[np.int32]) -> NDArray[Any]:
    """Return the output of the last layer, float64 (n, length, width)."""
    kind = config["model_type"]
    is_distilbert = kind == "distilbert"
    heads = config["n_heads" if is_distilbert else "num_attention_heads"]
    epsilon = config.get("layer_norm_eps", 1e-12)
    pad = config.get("pad_token_id", 0)
    first = pad + 1 if kind == "roberta" else 0
    length = ids.shape[1]
    tables = {name.split(".")[1]: array.astype(float) for name, array in arrays.items()
              if name.startswith("embeddings.") and array.ndim == 2}  # fmt: skip
    x = tables["word_embeddings"][ids] + tables["position_embeddings"][first : first + length]
    if "token_type_embeddings" in tables:
        x = x + tables["token_type_embeddings"][0]
    x = _norm(x, arrays, "embeddings.LayerNorm", epsilon)
    if "embeddings_project.weight" in arrays:
        x = _dense(x, arrays, "embeddings_project")
    width = x.shape[-1]
    masked = np.where(ids == pad, -1e9, 0.0)[:, None, None, :]

    def split(values: Any) -> Any:
        return values.reshape(*values.shape[:2], heads, width // heads).transpose(0, 2, 1, 3)

    for number in range(config["n_layers" if is_distilbert else "num_hidden_layers"]):
        prefix = f"{'transformer' if is_distilbert else 'encoder'}.layer.{number}."
        names = (("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                  "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm") if is_distilbert else
                 ("attention.self.query", "attention.self.key", "attention.self.value",
                  "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense",
                  "output.dense", "output.LayerNorm"))  # fmt: skip
        query, key, value, out, norm, up, down, last = (prefix + name for name in names)
        q, k, v = (split(_dense(x, arrays, name)) for name in (query, key, value))
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads) + masked
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        attended = (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = _norm(x + _dense(attended, arrays, out), arrays, norm, epsilon)
        inner = _dense(x, arrays, up)
        inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        x = _norm(x + _dense(inner, arrays, down), arrays, last, epsilon)
    return x


def random_ids(config: dict[str, Any], count: int = 6, length: int = 10) -> NDArray[np.int32]:
    """Return ids of texts of different lengths, padded at their end."""
    random = np.random.default_rng(1)
    pad = config.get("pad_token_id", 0)
    ids = random.integers(2, config["vocab_size"], (count, length)).astype(np.int32)
    for row in range(count):
        ids[row, 2 + row % (length - 1) :] = pad
    ids[-1] = random.integers(2, config["vocab_size"], length)
    return ids
