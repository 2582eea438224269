"""Compare a step of training and decoding of an encoder and decoder with Keras and PyTorch.

    python -m benchmarks.translation [--rows 2048] [--epochs 4] [--threads 1] [--python PYTHON]

The network has 2 + 2 layers of 128 values, 4 heads and 512 units, and translates the dates of
configs/data: 32 tokens of the source, 31 of the target, batches of 64, Adam. `step` has the milliseconds
of a step in the fastest epoch: of `trainer fit`, of Keras's `fit` of the same network, and of
`torch.nn.Transformer` of the same sizes, which PYTHON runs. `greedy` and `beam_4` have the milliseconds
to translate a sentence, of 512 at once, with random weights, so that hardly a text ends early: of
trainer, with its cache of keys and values; of Keras and PyTorch, which have none, so that each position
computes all positions before it again. Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import processes

DATES = Path(__file__).parents[1] / "configs" / "data" / "dates.csv"
CONFIG = """
name: translation
data:
  source: dates.csv
  target: french
  task: translate
  split: {{test: 0, validation: 0}}
  tokens: {{length: 32, max_tokens: 320}}
model:
  encoder_decoder: {{layers: 2, heads: 4, width: 128, feed_forward: 512, tied: none}}
optimizer: {{name: adam, learning_rate: 1e-9}}
metrics: [token_accuracy]
fit: {{epochs: {epochs}, batch_size: 64, checkpoint: {{every: 1000 epochs}}}}
runtime: {{threads: {threads}}}
evaluate: {{report: false}}
"""
OURS = """
import json, sys, time
from pathlib import Path
import numpy as np
from trainer.engine import devices
devices.start("cpu", int(sys.argv[2]))
import keras
from trainer.config.translation import Decoding, encoder_decoder
from trainer.engine.batches import Evaluator
from trainer.engine.translation import TranslationLearner
from trainer.prediction.trained_runs import load_network, load_run_table, open_trained
opened = open_trained(Path(sys.argv[1]))
samples = load_run_table(opened).samples("train")
tokens, ids = samples.inputs["tokens"][:], samples.y.astype(np.int32)
shape = opened.task.network_shape(opened.preprocessing).translation
np.savez("ids.npz", tokens=tokens, ids=ids, source_ids=shape.source_ids, target_ids=shape.target_ids,
         start=shape.start, model=str(opened.run.checkpoint("best") / "model.keras"))
network = load_network(opened, allow_custom=False)
settings = encoder_decoder(opened.loaded.config.model)
figures = {}
for name, beam in (("greedy", 1), ("beam_4", 4)):
    learner = TranslationLearner(network, settings, shape, decoding=Decoding(beam=beam))
    evaluator = Evaluator(learner)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        evaluator.predict({"tokens": tokens[:512]})
        seconds.append(time.perf_counter() - start)
    figures[name] = 1000 * min(seconds) / 512
print(json.dumps(figures))
"""
KERAS = """
import json, sys, time
import numpy as np
import tensorflow as tf
threads = int(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras
data = np.load("ids.npz")
tokens, ids = data["tokens"], data["ids"]
model = keras.models.load_model(str(data["model"]))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
target = ids[:, 1:]
figures = {}
for name, compiled in (("step", False), ("step_xla", True)):
    model.compile("adam", loss, jit_compile=compiled)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        model.fit({"tokens": tokens, "target_tokens": ids[:, :-1]}, target,
                  sample_weight=(target != 0).astype("float32"), batch_size=64, verbose=0)
        seconds.append(time.perf_counter() - start)
    figures[name] = 1000 * min(seconds) / -(-len(ids) // 64)
seconds = []
for _ in range(3):
    start = time.perf_counter()
    texts = np.zeros((512, target.shape[1] + 1), np.int32)
    texts[:, 0] = data["start"]
    for position in range(target.shape[1]):
        logits = model.predict_on_batch({"tokens": tokens[:512], "target_tokens": texts[:, :-1]})
        texts[:, position + 1] = logits[:, position].argmax(-1)
    seconds.append(time.perf_counter() - start)
figures["greedy"] = 1000 * min(seconds) / 512
print(json.dumps(figures))
"""
TORCH = """
import json, math, sys, time
import numpy as np
import torch
from torch import nn
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
data = np.load("ids.npz")
tokens, ids = (torch.tensor(data[name], dtype=torch.long) for name in ("tokens", "ids"))

class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source = nn.Embedding(int(data["source_ids"]), 128)
        self.target = nn.Embedding(int(data["target_ids"]), 128)
        self.register_buffer("positions", torch.randn(64, 128))
        self.dropout = nn.Dropout(0.1)
        self.body = nn.Transformer(128, 4, 2, 2, 512, 0.1, batch_first=True, norm_first=True)
        self.head = nn.Linear(128, int(data["target_ids"]), bias=False)
    def embed(self, table, ids):
        return self.dropout(table(ids) * math.sqrt(128) + self.positions[: ids.shape[1]])
    def encode(self, tokens):
        return self.body.encoder(self.embed(self.source, tokens), src_key_padding_mask=tokens == 0)
    def decode(self, memory, tokens, texts):
        causal = nn.Transformer.generate_square_subsequent_mask(texts.shape[1])
        return self.head(self.body.decoder(self.embed(self.target, texts), memory, tgt_mask=causal,
                         tgt_is_causal=True, memory_key_padding_mask=tokens == 0))
    def forward(self, tokens, texts):
        return self.decode(self.encode(tokens), tokens, texts)

model = Translator().train()
optimizer = torch.optim.Adam(model.parameters(), 1e-9)
loss = nn.CrossEntropyLoss(ignore_index=0)
seconds = []
for _ in range(3):
    start = time.perf_counter()
    for rows in torch.randperm(len(ids)).split(64):
        optimizer.zero_grad()
        logits = model(tokens[rows], ids[rows, :-1])
        loss(logits.flatten(0, 1), ids[rows, 1:].flatten()).backward()
        optimizer.step()
    seconds.append(time.perf_counter() - start)
figures = {"step": 1000 * min(seconds) / -(-len(ids) // 64)}
model.eval()
seconds = []
with torch.inference_mode():
    for _ in range(3):
        start = time.perf_counter()
        memory = model.encode(tokens[:512])
        texts = torch.full((512, 1), int(data["start"]))
        for position in range(ids.shape[1] - 1):
            logits = model.decode(memory, tokens[:512], texts)[:, -1]
            texts = torch.cat([texts, logits.argmax(-1, keepdim=True)], 1)
        seconds.append(time.perf_counter() - start)
figures["greedy"] = 1000 * min(seconds) / 512
print(json.dumps(figures))
"""
RUN = "import sys; from trainer_cli.main import run; sys.exit(run(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="a Python with PyTorch"
    )
    args = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    counts = {name: getattr(args, name) for name in ("rows", "epochs", "threads")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = DATES.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "dates.csv").write_text("".join(lines[: args.rows + 1]), encoding="utf-8")
        text = CONFIG.format(epochs=args.epochs, threads=args.threads)
        (folder / "c.yaml").write_text(text)
        run = folder / processes.python(RUN, folder, "fit", "c.yaml", "--quiet")
        epochs = (run / "timing.jsonl").read_text().splitlines()[1:]
        seconds = min(json.loads(line)["seconds"] for line in epochs)
        steps = -(-args.rows // 64)
        figures["trainer"] = {
            "step": 1000 * seconds / steps,
            **json.loads(processes.python(OURS, folder, run, args.threads)),
        }
        figures["keras"] = json.loads(
            processes.python(KERAS, folder, args.threads).splitlines()[-1]
        )
        figures["torch"] = json.loads(
            processes.python(TORCH, folder, args.threads, program=args.python)
        )
    print(json.dumps({**counts, "programs": figures}, indent=1))


if __name__ == "__main__":
    main()
