"""Small files of tokens, as those of pretrained networks."""

import json

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "book", "was", "great", "dull", "##s", "##ly", "good", ".", "!", "a", "书", "好")


def write_vocabulary(folder, *words, specials=SPECIALS, **settings):
    """Write vocab.txt, and tokenizer_config.json with the settings; return the file of tokens."""
    folder.mkdir(exist_ok=True, parents=True)
    tokens = [*specials, *(words or WORDS)]
    path = folder / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def byte_level_file(folder, texts):
    """Write the tokenizer.json of a byte-level BPE like that of RoBERTa, trained on texts."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing

    tokenizer = ByteLevelBPETokenizer()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(texts, 320, min_frequency=2, special_tokens=specials)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
