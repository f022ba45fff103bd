"""The networks that others trained, the photographs and the sentences: against other implementations of the same."""

import pytest
import torch
from torch import nn

from qtoolkit import lab
from qtoolkit.compression import LayerRecipe, Recipe, compress, decompress
from qtoolkit.lab import efficientnet, minilm, photographs
from qtoolkit.lab.fetch import DataUnavailable, fetch


def _require(source):
    try:
        return fetch(source)
    except DataUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def photos():
    _require(photographs.TWENTY)
    return lab.photos()


def test_efficientnet_equals_its_authors_implementation(photos):
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(_require(efficientnet.SOURCE) / efficientnet.FILE, weights_only=True))
    with torch.inference_mode():
        ours, expected = lab.trained("efficientnet-lite0")(photos[:4].inputs()), theirs.eval()(photos[:4].inputs())
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_efficientnet_reads_the_twenty_photographs(photos):
    _require(efficientnet.SOURCE)
    with torch.inference_mode():
        right = lab.trained("efficientnet-lite0")(photos.inputs()).argmax(1) == photos.labels
    assert right.sum() == 18


def test_five_depthwise_filters_are_all_zero():
    _require(efficientnet.SOURCE)
    filters = [m.weight.flatten(1) for m in lab.trained("efficientnet-lite0").modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert sum(int((rows.abs().amax(1) == 0).sum()) for rows in filters) == 5


@torch.inference_mode()
def test_efficientnet_goes_through_a_file_bit_for_bit_and_still_reads_photographs(photos, tmp_path):
    """Depthwise convolutions, batch norms, residual blocks and five filters of zeros: the file holds the whole state."""
    _require(efficientnet.SOURCE)
    model, path = lab.trained("efficientnet-lite0"), tmp_path / "net.qtdc"
    report = compress(model, path, Recipe(LayerRecipe(bits=8, index_bits=0)))
    back = decompress(path, lab.trained("efficientnet-lite0"))
    compress(back, tmp_path / "again.qtdc", Recipe(LayerRecipe(bits=8, index_bits=0)))
    assert (tmp_path / "again.qtdc").read_bytes() == path.read_bytes()
    fixed, kept = model.state_dict(), back.state_dict()
    for name, tensor in fixed.items():
        if tensor.dim() < 2:
            assert torch.equal(kept[name], tensor)                                          # biases and batch norms
        else:
            assert kept[name].unique().numel() <= 256 and bool((kept[name][tensor == 0] == 0).all())
    assert report.ratio > 4 and int((back(photos.inputs()).argmax(1) == photos.labels).sum()) >= 17


def _as_torch_layer(layer: minilm.Layer) -> nn.TransformerEncoderLayer:
    """torch's own encoder layer with the same weights."""
    theirs = nn.TransformerEncoderLayer(minilm.WIDTH, minilm.HEADS, minilm.INNER, activation="gelu", layer_norm_eps=1e-12, batch_first=True).eval()
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(theirs.self_attn, f"in_proj_{name}").copy_(torch.cat([getattr(part, name) for part in (layer.query, layer.key, layer.value)]))
            for ours, other in ((layer.mix, theirs.self_attn.out_proj), (layer.norm_1, theirs.norm1), (layer.widen, theirs.linear1),
                                (layer.narrow, theirs.linear2), (layer.norm_2, theirs.norm2)):
                getattr(other, name).copy_(getattr(ours, name))
    return theirs


@torch.inference_mode()
def test_every_layer_of_minilm_equals_torch_encoder_layer():
    _require(minilm.SOURCE)
    model, batch = lab.trained("minilm"), lab.tokens(lab.sentences(6))
    x = torch.randn(int(batch.mask.sum()), minilm.WIDTH, generator=torch.Generator().manual_seed(0))
    for layer in model.layers:
        expected = _as_torch_layer(layer)(minilm._apart(x, batch.mask), src_key_padding_mask=~batch.mask)
        torch.testing.assert_close(layer(x, batch.mask), expected[batch.mask], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_sentence_means_the_same_alone_and_among_longer_ones():
    _require(minilm.SOURCE)
    model, lines = lab.trained("minilm"), ["Short.", *lab.sentences(5)]
    together = model(lab.tokens(lines))
    torch.testing.assert_close(together, torch.cat([model(lab.tokens([line])) for line in lines]), rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(lines)))


@torch.inference_mode()
def test_minilm_finds_the_sentence_of_the_same_meaning():
    _require(minilm.SOURCE)
    model = lab.trained("minilm")
    first, second = (model(lab.tokens(list(half))) for half in zip(*lab.sentence_pairs()))
    assert ((first @ second.T).argmax(1) == torch.arange(96)).sum() >= 90  # the published model, on text that it never saw


def test_dense_layers_never_see_padding():
    _require(minilm.SOURCE)
    model, batch, seen = lab.trained("minilm"), lab.tokens(["One.", "A much longer sentence than the first one."]), []
    model.layers[0].widen.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].shape))
    model(batch)
    assert seen == [(int(batch.mask.sum()), minilm.WIDTH)] and batch.mask.logical_not().any()


@pytest.mark.parametrize("given, error", [("a text", TypeError), ([1], TypeError), ([], ValueError)])
def test_tokens_want_a_list_of_texts(given, error):
    with pytest.raises(error, match="expected|list of texts"):
        lab.tokens(given)


@pytest.mark.parametrize("count", [0, 193, 2.0, "3"])
def test_a_count_of_sentences_is_checked(count):
    with pytest.raises(ValueError, match="1 to 192"):
        lab.sentences(count)


def test_the_text_set_is_whole():
    assert len(set(lab.sentences())) == 192 and len(lab.sentences(7)) == 7


def _picture(path, color, size=(300, 280)):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", size, color).save(path)


def test_a_folder_with_a_table_or_with_numbered_subfolders(tmp_path):
    (tmp_path / "7").mkdir()
    _picture(tmp_path / "7" / "red.png", (255, 0, 0))
    (tmp_path / "7" / "notes.txt").write_text("no picture")
    assert lab.photos(tmp_path).labels.tolist() == [7]
    (tmp_path / "labels.tsv").write_text("file\tclass_index\tname\n7/red.png\t4\tcrimson\n")
    photos = lab.photos(tmp_path)
    assert photos.labels.tolist() == [4] and photos.name == tmp_path.name
    assert photos.pixels[0, :, 100, 100].tolist() == [255, 0, 0]
    torch.testing.assert_close(photos.inputs()[0, :, 0, 0], torch.tensor([1.0, -127 / 128, -127 / 128]))


def test_the_middle_of_a_wide_picture_is_taken(tmp_path):
    image = pytest.importorskip("PIL.Image")
    wide = image.new("RGB", (1024, 256), (0, 0, 255))
    wide.paste((0, 255, 0), (400, 0, 624, 256))  # the middle 224 columns
    (tmp_path / "0").mkdir()
    wide.save(tmp_path / "0" / "wide.png")
    assert lab.photos(tmp_path).pixels[0, 1].eq(255).all()


@pytest.mark.parametrize("content, complaint", [("", "no line"), ("a.png\n", "no line"), ("gone.png\t3\n", "no readable picture"), ("a\t1000\n", "0 to 999")])
def test_a_bad_table_is_refused(tmp_path, content, complaint):
    (tmp_path / "labels.tsv").write_text(content)
    with pytest.raises(ValueError, match=complaint):
        lab.photos(tmp_path)


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="labels.tsv"):
        lab.photos(tmp_path / "nowhere")
    (tmp_path / "cats").mkdir()
    with pytest.raises(ValueError, match="1,000 or names that are class numbers"):
        lab.photos(tmp_path)
    (tmp_path / "labels.tsv").write_text("broken.png\t3\n")
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="no readable picture"):
        lab.photos(tmp_path)
