"""A transformer encoder and decoder in plain NumPy, and its greedy and beam search, row by row."""

from __future__ import annotations

import numpy as np

from trainer.models.translation.network import EPSILON, sinusoids


class Reference:
    """Computes the logits of a network from its weights by name."""

    def __init__(self, network, settings, shape):
        self.settings, self.shape = settings, shape
        self.weights = {}
        for layer in network.layers:
            for weight in layer.weights:
                role = weight.path.split("/")[-2:]
                inner = role[0] if role[0] in ("query", "key", "value", "attention_output") else ""
                self.weights[layer.name, inner, role[1]] = weight.numpy().astype(np.float64)

    def get(self, layer, name, inner=""):
        return self.weights[layer, inner, name]

    def logits(self, tokens, target):
        """Return (target length, ids) for ids (source length,) and (target length,)."""
        known = tokens != self.shape.source_pad
        source = (
            "target" if ("source_embedding", "", "embeddings") not in self.weights else "source"
        )
        memory = self.embed(tokens, source, "source")
        for number in range(self.settings.layers):
            name = f"encoder_{number}"
            memory = self.sublayer(
                f"{name}_attention",
                memory,
                lambda x, name=name: self.attend(f"{name}_attention", x, x, known[None, :]),
            )
            memory = self.sublayer(
                f"{name}_feed_forward", memory, lambda x, name=name: self.feed_forward(name, x)
            )
        memory = self.closed("encoder", memory)
        x = self.embed(target, "target", "target")
        causal = np.tril(np.ones((len(target), len(target)), bool))
        for number in range(self.settings.layers):
            name = f"decoder_{number}"
            x = self.sublayer(
                f"{name}_attention",
                x,
                lambda x, name=name: self.attend(f"{name}_attention", x, x, causal),
            )
            x = self.sublayer(
                f"{name}_cross_attention",
                x,
                lambda x, name=name: self.attend(
                    f"{name}_cross_attention", x, memory, known[None, :]
                ),
            )
            x = self.sublayer(
                f"{name}_feed_forward", x, lambda x, name=name: self.feed_forward(name, x)
            )
        x = self.closed("decoder", x)
        if self.settings.tied == "none":
            return x @ self.get("head", "kernel")
        return x @ self.get("target_embedding", "embeddings").T

    def embed(self, ids, table, side):
        vectors = self.get(f"{table}_embedding", "embeddings")[ids]
        positions = self.get(f"{side}_positions", "embeddings")[: len(ids)]
        if self.settings.positions == "sinusoidal":
            np.testing.assert_allclose(positions, sinusoids(*positions.shape), rtol=1e-6)
        return vectors * np.sqrt(self.settings.width) + positions

    def sublayer(self, name, x, change):
        if self.settings.normalization == "pre":
            return x + change(self.normalize(name, x))
        return self.normalize(name, x + change(x))

    def closed(self, name, x):
        return self.normalize(name, x) if self.settings.normalization == "pre" else x

    def normalize(self, name, x):
        name = f"{name}_normalization"
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(variance + EPSILON)
        return scaled * self.get(name, "gamma") + self.get(name, "beta")

    def attend(self, name, x, memory, mask):
        outputs = 0.0
        for head in range(self.settings.heads):
            query, key, value = (
                part @ self.get(name, "kernel", role)[:, head] + self.get(name, "bias", role)[head]
                for part, role in ((x, "query"), (memory, "key"), (memory, "value"))
            )
            scores = query @ key.T / np.sqrt(query.shape[1])
            scores = np.where(mask, scores, -np.inf)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            kernel = self.get(name, "kernel", "attention_output")[head]
            outputs = outputs + shares @ value @ kernel
        return outputs + self.get(name, "bias", "attention_output")

    def feed_forward(self, name, x):
        hidden = x @ self.get(f"{name}_hidden", "kernel") + self.get(f"{name}_hidden", "bias")
        hidden = np.maximum(hidden, 0.0)
        return hidden @ self.get(f"{name}_outputs", "kernel") + self.get(f"{name}_outputs", "bias")

    def next_logs(self, tokens, text):
        """Return the logarithms of the probabilities of the token after a text, a list of ids."""
        logits = self.logits(tokens, np.array([self.shape.start, *text]))[-1]
        logs = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        logs[[self.shape.start, self.shape.target_pad]] = -np.inf
        return logs

    def greedy(self, tokens):
        text, total = [], 0.0
        while len(text) < self.shape.target_length and text[-1:] != [self.shape.end]:
            logs = self.next_logs(tokens, text)
            text.append(int(np.argmax(logs)))
            total += logs.max()
        return text, total

    def beams(self, tokens, beam, power):
        """Return the best text that ends, continuing the `beam` best open ones at each position."""
        opened, ended = [([], 0.0)], []
        for length in range(1, self.shape.target_length + 1):
            found = []
            for text, total in opened:
                logs = self.next_logs(tokens, text)
                found += [([*text, token], total + logs[token]) for token in range(len(logs))]
            found.sort(key=lambda item: -item[1])
            found = found[: 2 * beam]
            penalty = ((5 + length) / 6) ** power
            ends = [item for item in found if item[0][-1] == self.shape.end]
            ended += [(total / penalty, total, text) for text, total in ends]
            ended = sorted(ended, key=lambda item: -item[0])[:beam]
            opened = [item for item in found if item[0][-1] != self.shape.end][:beam]
            longest = ((5 + self.shape.target_length) / 6) ** power
            if len(ended) == beam and opened[0][1] / longest <= ended[-1][0]:
                break
        if not ended:
            return opened[0]
        _, total, text = ended[0]
        return text, total
