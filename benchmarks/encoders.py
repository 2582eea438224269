"""W9: fine-tune an encoder of the size of MiniLM, against Hugging Face's; frozen features computed once.

    python -m benchmarks.encoders [--rows 160] [--epochs 3] [--threads 1]

The encoder has 6 layers of 384 values, 12 heads, and 30,522 ids (random weights, as only the time
counts); batches have 16 texts of 64 tokens. `step_ms` has the milliseconds of a step of Adam of `trainer
fit`, in its fastest epoch, of Hugging Face's `BertForSequenceClassification`, and of PyTorch's own
`torch.nn.TransformerEncoderLayer` with the same layers, both in the environment of the peers.
`process_s` has the seconds of the whole process, from the texts to a saved network, of trainer and of a
script with Hugging Face's tokenizer and network. `frozen` has the seconds of an epoch on features that
are computed once, the seconds to compute them, and the seconds to apply the encoder in each epoch, as
Keras does with a frozen layer. `short_texts` has the seconds of an epoch on as many texts with the
numbers of words of configs/data/sentences.csv, and those of texts of 64 tokens. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from benchmarks import processes

LENGTH, BATCH = 64, 16
SENTENCES = Path(__file__).parents[1] / "configs" / "data" / "sentences.csv"
SIZES = {"vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6,
         "num_attention_heads": 12, "intermediate_size": 1536,
         "max_position_embeddings": 512}  # fmt: skip
CONFIG = """
name: encoders
data:
  source: {table}
  target: label
  split: {{test: 0, validation: 0}}
  tokens: {{length: {length}}}
  columns: {{text: {{kind: tokens}}}}
model:
  pretrained: {base}
  layers: []
optimizer: {{name: adam, learning_rate: 3e-5}}
metrics: []
fit: {{epochs: {epochs}, batch_size: {batch}, checkpoint: {{every: 1000 epochs}}}}
runtime: {{threads: {threads}}}
evaluate: {{report: false}}
"""
TUNED = "{{file: encoder, frozen: false, learning_rate_factor: 1, dropout: {dropout}}}"
TORCH = """
import json, sys, time
import torch
from torch import nn
threads, steps, dropout = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(0)

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(30522, 384), nn.Embedding(512, 384)
        self.segments, self.norm = nn.Embedding(2, 384), nn.LayerNorm(384, 1e-12)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(384, 12, 1536, dropout, nn.functional.gelu, 1e-12, True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(384, 2)
    def forward(self, ids):
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segments.weight[0]
        mask = ids == 0
        x = self.layers(self.dropout(self.norm(x)), src_key_padding_mask=mask)
        keep = (~mask).unsqueeze(-1).float()
        return self.head((x * keep).sum(1) / keep.sum(1))

model = Encoder().train()
optimizer = torch.optim.Adam(model.parameters(), 3e-5)
loss = nn.CrossEntropyLoss()
ids = torch.randint(1000, 20000, (steps, 16, 64))
labels = torch.randint(0, 2, (steps, 16))
seconds = []
for epoch in range(3):
    start = time.perf_counter()
    for batch, label in zip(ids, labels):
        optimizer.zero_grad()
        loss(model(batch), label).backward()
        optimizer.step()
    seconds.append((time.perf_counter() - start) / steps)
print(json.dumps(min(seconds)))
"""
HUGGING_FACE = """
import csv, json, os, sys, time
os.environ["USE_TF"] = "0"
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast
threads, epochs, dropout = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(0)
rows = list(csv.DictReader(open("t.csv")))
tokenizer = BertTokenizerFast("encoder/vocab.txt")
encoded = tokenizer(
    [row["text"] for row in rows], padding="max_length", truncation=True, max_length=64,
    return_tensors="pt",
)
labels = torch.tensor([int(row["label"] == "y") for row in rows])
options = json.load(open("encoder/config.json"))
options |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
model = BertForSequenceClassification(BertConfig(**options)).train()
optimizer = torch.optim.Adam(model.parameters(), 3e-5)
seconds = []
for epoch in range(epochs):
    start = time.perf_counter()
    for batch in torch.randperm(len(rows)).split(16):
        optimizer.zero_grad()
        model(
            input_ids=encoded["input_ids"][batch],
            attention_mask=encoded["attention_mask"][batch],
            labels=labels[batch],
        ).loss.backward()
        optimizer.step()
    seconds.append(time.perf_counter() - start)
torch.save(model.state_dict(), "model.pt")
print(json.dumps(min(seconds)))
"""
FROZEN = """
import json, sys, time
from pathlib import Path
import numpy as np
import tensorflow as tf
threads = int(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras
from trainer.config.pretrained import Pretrained
from trainer.models.pretrained.encoder_folder import describe_encoder
from trainer.models.pretrained.encoder_network import EncoderContext, build_encoder
base = describe_encoder(Pretrained(file="encoder"), 64)
encoder = build_encoder(base, 64, EncoderContext(), weights=True)
start = keras.Input((64,), dtype="int32")
outputs = keras.layers.Dense(1, activation="sigmoid")(encoder(start, training=False))
model = keras.Model(start, outputs)
model.compile("adam", "binary_crossentropy", jit_compile=False)
rows = int(sys.argv[2])
ids = np.random.default_rng(0).integers(1000, 20000, (rows, 64)).astype(np.int32)
labels = np.arange(rows) % 2
seconds = []
for epoch in range(2):
    begin = time.perf_counter()
    model.fit(ids, labels, batch_size=16, epochs=1, verbose=0)
    seconds.append(time.perf_counter() - begin)
print(json.dumps(min(seconds)))
"""
RUN = "import sys; from trainer_cli.main import run; sys.exit(run(sys.argv[1:]))"


def write_folder(folder: Path) -> None:
    """Write the encoder with random weights, and texts of 62 of its tokens."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.models.pretrained.encoder_folders import encoder_arrays, encoder_config, write_arrays

    config = encoder_config("bert", **SIZES)
    (folder / "encoder").mkdir()
    (folder / "encoder" / "config.json").write_text(json.dumps(config))
    arrays: dict[str, Any] = dict(encoder_arrays(config))
    write_arrays(folder / "encoder" / "model.safetensors", arrays)
    words = [f"w{number}" for number in range(SIZES["vocab_size"] - 5)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "encoder" / "vocab.txt").write_text("\n".join(vocabulary) + "\n")


def write_table(path: Path, sizes: Sequence[int]) -> None:
    """Write texts of these numbers of words, which are tokens."""
    numbers = np.random.default_rng(0).integers(1000, 20_000, (len(sizes), LENGTH - 2))
    lines = [
        f"{' '.join(f'w{number}' for number in row[:size])},{'ny'[index % 2]}"
        for index, (row, size) in enumerate(zip(numbers, sizes, strict=True))
    ]
    path.write_text("\n".join(["text,label", *lines]) + "\n")


def sentence_sizes(rows: int) -> list[int]:
    """Return the numbers of words of sentences drawn from those of the configs."""
    texts = pl.read_csv(SENTENCES)["text"].sample(rows, with_replacement=True, seed=0)
    return [min(len(text.split()), LENGTH - 2) for text in texts]


def fit(
    folder: Path, base: str, args: argparse.Namespace, epochs: int, table: str = "t.csv"
) -> dict[str, float]:
    """Return the seconds of the fastest epoch of `trainer fit`, and those of encoding."""
    text = CONFIG.format(
        base=base, length=LENGTH, batch=BATCH, epochs=epochs, threads=args.threads, table=table
    )
    (folder / "c.yaml").write_text(text)
    start = perf_counter()
    run = folder / processes.python(RUN, folder, "fit", "c.yaml", "--quiet")
    process = perf_counter() - start
    lines = (run / "timing.jsonl").read_text().splitlines()
    timings = json.loads((run / "manifest.json").read_text())["timings"]
    return {
        "epoch": min(json.loads(line)["seconds"] for line in lines[1:]),
        "encode": timings["encode"],
        "process": process,
    }


def peer(code: str, folder: Path, *arguments: object) -> str:
    """Return what Python code prints in the environment of the peers."""
    return processes.python(code, folder, *arguments, program=processes.PEERS / "python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        write_folder(folder)
        write_table(folder / "t.csv", [LENGTH - 2] * args.rows)
        write_table(folder / "short.csv", sentence_sizes(args.rows))
        steps = -(-args.rows // BATCH)
        result: dict[str, Any] = {"step_ms": {}, "process_s": {}, **vars(args)}
        for dropout in (0.0, 0.1):
            tuned = fit(folder, TUNED.format(dropout=dropout), args, args.epochs)
            sides = {"trainer": round(1000 * tuned["epoch"] / steps)}
            whole = {"trainer": round(tuned["process"], 1)}
            options = (args.threads, steps, dropout)
            sides["torch"] = round(1000 * float(peer(TORCH, folder, *options)))
            options = (args.threads, args.epochs, dropout)
            start = perf_counter()
            epoch = float(peer(HUGGING_FACE, folder, *options))
            whole["hugging_face"] = round(perf_counter() - start, 1)
            sides["hugging_face"] = round(1000 * epoch / steps)
            sides["ratio"] = round(epoch / tuned["epoch"], 2)
            result["step_ms"][f"dropout {dropout}"] = sides
            result["process_s"][f"dropout {dropout}"] = whole
        short = fit(folder, TUNED.format(dropout=0.1), args, args.epochs, "short.csv")
        result["short_texts"] = {
            "epoch_s": round(short["epoch"], 2),
            "epoch_of_64_tokens_s": round(tuned["epoch"], 2),
            "ratio": round(tuned["epoch"] / short["epoch"], 2),
        }
        frozen = fit(folder, "encoder", args, max(args.epochs, 5))
        repeated = float(processes.python(FROZEN, folder, args.threads, args.rows))
        result["frozen"] = {
            "epoch_s": frozen["epoch"],
            "features_s": frozen["encode"],
            "epoch_with_encoder_s": round(repeated, 2),
            "ratio": round(repeated / frozen["epoch"]),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
